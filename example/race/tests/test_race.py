from holdfast.testing import JoinError, LiveClient

from harbor.tests.base import SeededTestCase
from race import bots
from race.live import BoatMoved, Race
from race.reports import served


class Races(SeededTestCase):
    def test_of_each_boat_a_reader_gets_the_first_and_the_newest_position(self) -> None:
        with LiveClient(self.user("grace")) as grace:
            grace.join("race")
            Race().publish(
                *(
                    BoatMoved(boat=boat, tick=tick, knots=9.0, at=tick)
                    for tick in range(1, 4)
                    for boat in (7, 8)
                )
            )
            for boat, tick in [(7, 1), (8, 1), (7, 3), (8, 3)]:
                grace.expect("boat.moved", boat=boat, tick=tick)
            grace.expect_nothing()

    def test_what_a_server_reports_is_not_held_back(self) -> None:
        with LiveClient(self.user("grace")) as grace:
            grace.join("race")
            for _ in range(3):
                Race().publish(served())
            for _ in range(3):
                grace.expect("served")

    def test_visitors_without_an_account_do_not_watch(self) -> None:
        with LiveClient() as visitor, self.assertRaises(JoinError):
            visitor.join("race")
        self.assertRedirects(self.client.get("/race/"), "/login/?next=/race/")

    def test_each_tick_moves_every_boat_once(self) -> None:
        ticks = bots.ticks()
        for number in (1, 2):
            moved = next(ticks)
            self.assertEqual([each.boat for each in moved], list(range(bots.BOATS)))
            self.assertEqual({each.tick for each in moved}, {number})
            self.assertTrue(all(0 <= each.knots < 25 for each in moved))

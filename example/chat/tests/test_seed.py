from io import StringIO

from django.core.management import call_command

from chat.models import Membership, Message, Room
from chat.tests.harbor import HarborTestCase


class Seeding(HarborTestCase):
    def test_the_rooms_have_their_members(self) -> None:
        def members(room: Room) -> set[str]:
            return set(room.memberships.values_list("user__username", flat=True))

        self.assertEqual(members(self.lobby), {"ada", "grace", "linus"})
        self.assertEqual(members(self.captains), {"ada", "grace"})

    def test_the_lobby_has_more_than_one_page(self) -> None:
        self.assertGreater(self.lobby.messages.count(), 60)

    def test_history_lies_in_the_past_and_in_order(self) -> None:
        for room in [self.lobby, self.captains]:
            times = list(room.messages.values_list("at", flat=True))
            self.assertEqual(times, sorted(times))

    def test_seeding_again_changes_nothing(self) -> None:
        self.user("linus").set_password("another")
        Membership.objects.filter(room=self.captains, user__username="grace").delete()
        self.say(self.lobby, "still here")
        before = Message.objects.count(), Membership.objects.count()
        call_command("seed", stdout=StringIO())
        self.assertEqual((Message.objects.count(), Membership.objects.count()), before)

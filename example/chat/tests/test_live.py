from holdfast.testing import CallError, JoinError, LiveClient

from chat.models import Message, Room
from chat.tests.harbor import HarborTestCase


class Joining(HarborTestCase):
    def test_only_members_may_join(self) -> None:
        with LiveClient(self.user("grace")) as grace:
            grace.join("rooms/lobby")
            grace.join("rooms/captains")
        with LiveClient(self.user("linus")) as linus:
            linus.join("rooms/lobby")
            for name in ["rooms/captains", "rooms/nowhere"]:
                with self.assertRaises(JoinError) as refused:
                    linus.join(name)
                self.assertEqual(refused.exception.code, "forbidden")

    def test_strangers_may_not_join(self) -> None:
        with LiveClient() as stranger, self.assertRaises(JoinError):
            stranger.join("rooms/lobby")


class BeingThere(HarborTestCase):
    def test_those_in_a_room_are_told_of_each_other_by_name(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("grace")) as grace:
            ada.join("rooms/lobby")
            grace.join("rooms/lobby")
            here = ada.expect_members("rooms/lobby", self.user("ada"), self.user("grace"))
            self.assertEqual(sorted(member.meta["name"] for member in here), ["ada", "grace"])
            grace.leave("rooms/lobby")
            ada.expect_members("rooms/lobby", self.user("ada"))


class Posting(HarborTestCase):
    def test_a_message_is_stored_and_reaches_all_members_of_the_room(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("grace")) as grace:
            ada.join("rooms/lobby")
            grace.join("rooms/lobby")
            answer = ada.call("rooms/lobby", "post", body="Good morning")
            message = Message.objects.latest("id")
            self.assertEqual(answer, message.pk)
            self.assertEqual((message.room, message.author.username), (self.lobby, "ada"))
            for client in (ada, grace):
                event = client.expect("message.posted", id=message.pk, author="ada", body="Good morning")
                self.assertEqual(event.at, message.at)

    def test_it_reaches_no_member_of_another_room(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("linus")) as linus:
            ada.join("rooms/captains")
            linus.join("rooms/lobby")
            ada.call("rooms/captains", "post", body="Between us")
            linus.expect_nothing()

    def test_a_message_has_1_to_2000_characters(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            ada.join("rooms/lobby")
            for body, code in [("", "invalid_payload"), ("x" * 2001, "invalid_payload"), (" \n", "refused")]:
                with self.subTest(body=body[:3]), self.assertRaises(CallError) as failed:
                    ada.call("rooms/lobby", "post", body=body)
                self.assertEqual(failed.exception.code, code)
            ada.call("rooms/lobby", "post", body="x" * 2000)
        self.assertEqual(Message.objects.latest("id").body, "x" * 2000)


class Typing(HarborTestCase):
    def test_the_others_see_it_and_nothing_is_stored(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("grace")) as grace:
            ada.join("rooms/lobby")
            grace.join("rooms/lobby")
            before = grace.position("rooms/lobby")
            ada.call("rooms/lobby", "typing")
            grace.expect("typing", author="ada")
            ada.expect_nothing()
            self.assertEqual(grace.position("rooms/lobby"), before)


class ListOfRooms(HarborTestCase):
    def test_each_member_hears_of_what_is_said_without_being_present(self) -> None:
        with (
            LiveClient(self.user("ada")) as ada,
            LiveClient(self.user("grace")) as grace,
            LiveClient(self.user("linus")) as linus,
        ):
            ada.join("rooms/captains")
            for client in (grace, linus):
                client.join("my-rooms/me")
            message = ada.call("rooms/captains", "post", body="Between us")
            grace.expect("room.news", room="captains", id=message, author="ada", body="Between us")
            linus.expect_nothing()
            self.assertEqual(len(ada.members("rooms/captains")), 1)

    def test_what_was_read_on_one_device_is_read_on_all(self) -> None:
        (message,) = self.say(self.lobby, "News", by="grace")
        with LiveClient(self.user("ada")) as desk, LiveClient(self.user("ada")) as phone:
            for client in (desk, phone):
                client.join("my-rooms/me")
            self.assertGreater(self.unread("ada"), 0)
            phone.call("my-rooms/me", "read", room="lobby", up_to=message.pk)
            desk.expect("room.read", room="lobby", up_to=message.pk)
            self.assertEqual(self.unread("ada"), 0)
            phone.call("my-rooms/me", "read", room="lobby", up_to=message.pk - 1)  # an older page comes late
        self.assertEqual(self.unread("ada"), 0)

    def test_a_room_of_others_is_not_read(self) -> None:
        with LiveClient(self.user("linus")) as linus:
            linus.join("my-rooms/me")
            linus.call("my-rooms/me", "read", room="captains", up_to=10**6)
            linus.expect_nothing()

    def unread(self, name: str) -> int:
        user = self.user(name)
        return Room.objects.with_news_for(user).get(slug="lobby").unread

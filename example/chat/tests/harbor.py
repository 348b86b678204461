"""Base class of the chat's tests: the demo's people and rooms."""

from chat.models import Message, Room
from harbor.tests.base import SeededTestCase


class HarborTestCase(SeededTestCase):
    lobby: Room
    captains: Room

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.lobby = Room.objects.get(slug="lobby")
        cls.captains = Room.objects.get(slug="captains")

    def say(self, room: Room, *bodies: str, by: str = "ada") -> list[Message]:
        author = self.user(by)
        return [Message.objects.create(room=room, author=author, body=body) for body in bodies]

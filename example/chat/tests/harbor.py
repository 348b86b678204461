"""What Harbor's tests start from: the demo's people and rooms."""

from io import StringIO
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import TestCase, override_settings

from chat.models import Message, Room


@override_settings(
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]
)  # the real one is slow by design
class HarborTestCase(TestCase):
    lobby: Room
    captains: Room

    @classmethod
    def setUpTestData(cls) -> None:
        call_command("seed", stdout=StringIO())
        cls.lobby = Room.objects.get(slug="lobby")
        cls.captains = Room.objects.get(slug="captains")

    def user(self, name: str) -> Any:
        return get_user_model().objects.get(username=name)

    def sign_in(self, name: str) -> None:
        self.client.force_login(self.user(name))

    def say(self, room: Room, *bodies: str, by: str = "ada") -> list[Message]:
        author = self.user(by)
        return [Message.objects.create(room=room, author=author, body=body) for body in bodies]

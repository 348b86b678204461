"""Base class of the tests of Harbor's apps: the demo's people, and all that `seed` creates."""

from io import StringIO
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import TestCase, override_settings


# The real one is slow by design.
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
class SeededTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        call_command("seed", stdout=StringIO())

    def user(self, name: str) -> Any:
        return get_user_model().objects.get(username=name)

    def sign_in(self, name: str) -> None:
        self.client.force_login(self.user(name))

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Makes COUNT users, each signed in, and prints a Cookie header for each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", type=int)

    def handle(self, *args: Any, count: int, **options: Any) -> None:
        User.objects.bulk_create(User(username=f"user-{n}", password="!") for n in range(count))
        store = import_module(settings.SESSION_ENGINE).SessionStore
        for user in User.objects.order_by("pk")[:count]:
            session = store()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
            self.stdout.write(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")

"""`manage.py seed`: fill an empty database with what the demo shows."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from chat.models import Membership, Message, Room
from chat.seeds import PASSWORD, ROOMS, USERS, SeedRoom

PAUSE = timedelta(seconds=70)  # between two messages of one conversation


class Command(BaseCommand):
    help = "Creates the demo's users, rooms and first messages. What is there already is left as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            users = {name: user(name) for name in USERS}
            for seed in ROOMS:
                self.room(seed, users)
        self.stdout.write(f"Users {', '.join(USERS)} have the password {PASSWORD!r}.")

    def room(self, seed: SeedRoom, users: dict[str, Any]) -> None:
        room, made = Room.objects.get_or_create(
            slug=seed.slug, defaults={"name": seed.name, "purpose": seed.purpose}
        )
        if not made:  # somebody may have changed it since, and that is theirs to do
            self.stdout.write(f"Room {seed.slug} is there already.")
            return
        for name in seed.members:
            Membership.objects.create(room=room, user=users[name])
        said = list(history(seed.story, ending=timezone.now() - timedelta(minutes=20)))
        Message.objects.bulk_create(
            Message(room=room, author=users[author], body=body, at=at) for author, body, at in said
        )
        self.stdout.write(f"Room {seed.slug}: {len(said)} messages, members {', '.join(seed.members)}.")


def user(name: str) -> Any:
    """The user of that name; made with the demo's password if there is none."""
    user, made = get_user_model().objects.get_or_create(username=name)
    if made:
        user.set_password(PASSWORD)
        user.save()
    return user


def history(story: str, *, ending: datetime) -> Iterator[tuple[str, str, datetime]]:
    """The author, the body and the time of each message of a story whose last one was said at `ending`."""
    said: list[tuple[str, str, timedelta]] = []
    elapsed = timedelta()
    for line in story.strip().splitlines():
        if line.startswith("~"):
            elapsed += timedelta(hours=int(line.removeprefix("~").removesuffix("h")))
        else:
            author, body = line.split(": ", 1)
            elapsed += PAUSE
            said.append((author, body, elapsed))
    for author, body, when in said:
        yield author, body, ending - elapsed + when

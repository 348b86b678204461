"""Process that prepares the database, shuts users out and lets them in again, ends the run, and reads the database at the end.

``python -m tests.fleet.chaos.bailiff JOURNAL`` takes orders on its standard input, one JSON array each, and answers each
with a JSON value. It reaches PostgreSQL and Redis without a proxy in between.
"""

import json
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import django
import msgspec

from .records import Entry, Journal, Readmitted, Revoked, TopicLog, Truth

PATIENCE_SECONDS = 25.0

T = TypeVar("T")


def author_of(entry: Any, value: str) -> str:
    """The client that an entry excludes, by the id that it chose. A client's own id begins what it says, and the log has its public
    id."""
    from django.contrib.auth.models import User

    from holdfast import client_id

    author = value.rpartition(":")[0]
    if entry.exclude and entry.exclude not in {client_id(user, author) for user in User.objects.all()}:
        raise ValueError(f"the entry at {entry.offset} excludes {entry.exclude}, which is not {author}")
    return author if entry.exclude else ""


class Bailiff:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._left_waiting = 0

    def migrate(self, users: int) -> list[str]:
        """Make the tables and the users; their ids as text."""
        from django.contrib.auth.models import User
        from django.core.management import call_command

        from tests.fleet.project import sabotage

        call_command("migrate", run_syncdb=True, verbosity=0)
        sabotage.break_the_database()
        made = [User.objects.create(username=f"user-{number}", password="!") for number in range(users)]
        return [str(user.pk) for user in made]

    def check(self) -> list[str]:
        """Return the messages of Django's system checks."""
        from django.core import checks

        return [str(message) for message in checks.run_checks() if message.level >= checks.WARNING]

    # ── shutting out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def evict(self, user: str, topic: str) -> None:
        from django.contrib.auth.models import User
        from django.db import transaction

        from tests.fleet.project.live import Room
        from tests.fleet.project.models import Ban

        began = time.monotonic()
        room: Any = Room(room=topic.partition("/")[2])

        with transaction.atomic():
            Ban.objects.create(user_id=int(user), topic=topic)
            room.evict(User.objects.get(pk=user))
        self._note(Revoked(at=time.monotonic(), began=began, act="eviction", user=user, topic=topic))

    def readmit(self, user: str, topic: str) -> None:
        from tests.fleet.project.models import Ban

        self._note(Readmitted(at=time.monotonic(), user=user, topic=topic))
        Ban.objects.filter(user_id=int(user), topic=topic).delete()

    def disconnect(self, user: str) -> None:
        from django.contrib.auth.models import User

        import holdfast

        began = time.monotonic()
        end: Any = getattr(holdfast, "disconnect")  # noqa: B009 - it is there in versions that have it
        end(User.objects.get(pk=user))
        self._note(Revoked(at=time.monotonic(), began=began, act="disconnection", user=user))

    def log_out(self, user: str) -> None:
        """End one of the user's sessions, as Django's own view does: that device is shut out, the others are not."""
        from django.contrib.auth import logout
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore
        from django.contrib.sessions.models import Session
        from django.http import HttpRequest

        theirs = (
            SessionStore(session_key=row.session_key)
            for row in Session.objects.order_by("-expire_date")[:500]
            if row.get_decoded().get("_auth_user_id") == user
        )
        session = next(theirs, None)
        if session is None:
            return
        request = HttpRequest()
        request.session = session
        request.user = User.objects.get(pk=user)
        began, client = time.monotonic(), session["client"]
        logout(request)
        self._note(Revoked(at=time.monotonic(), began=began, act="logout", user=user, client=client))

    def _note(self, record: Revoked | Readmitted) -> None:
        self._journal.note(record)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def pardon(self) -> None:
        """Let all users in."""
        from tests.fleet.project.models import Ban

        for user, topic in list(Ban.objects.values_list("user_id", "topic")):
            self.readmit(str(user), topic)

    def curtain(self, rooms: int) -> dict[str, int]:
        """Write the last event of every room without a message to the servers, and return the heads.

        A process that dies between its commit and its message does the same. The servers have to find the events by themselves.
        """
        from holdfast.log.base import Draft
        from holdfast.log.database import DatabaseLog
        from holdfast.log.tables import OUTBOX

        deadline = time.monotonic() + PATIENCE_SECONDS
        while (waiting := self._count(OUTBOX)) and time.monotonic() < deadline:
            time.sleep(0.2)  # the servers' sweeps number what the dead have left
        self._left_waiting = waiting
        log, topics = DatabaseLog(), [f"rooms/r{number}" for number in range(rooms)]
        for topic in topics:
            payload = msgspec.json.encode({"value": f"curtain:{topic}", "at": time.monotonic()})
            log.append([Draft(topic=topic, name="curtain", payload=payload)])
        return {name: head.offset for name, head in log.heads(topics).items()}

    def truth(self, path: str) -> None:
        """Write down what the database holds."""
        from holdfast.models import LogTopic
        from tests.fleet.project.models import Fact

        logs = {}
        for topic in LogTopic.objects.filter(name__startswith="rooms/"):
            entries = [
                Entry(
                    offset=entry.offset, name=entry.name, value=(payload := json.loads(entry.payload))["value"],
                    check=zlib.crc32(entry.payload.encode()), exclude=author_of(entry, payload["value"]), at=payload["at"],
                )
                for entry in topic.entries.order_by("offset")
            ]  # fmt: skip
            logs[topic.name] = TopicLog(epoch=topic.epoch, head=topic.head, entries=entries)
        rows = list(Fact.objects.order_by("pk").values_list("topic", "value"))
        truth = Truth(logs=logs, rows=rows, waiting=self._left_waiting)
        Path(path).write_bytes(msgspec.json.encode(truth))

    def _count(self, table: str) -> int:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE topic LIKE 'rooms/%%'")
            (count,) = cursor.fetchone()
            return int(count)


def _patiently(attempt: Callable[[], T]) -> T:
    """Retry while the database is away. The work may be carried out twice without harm."""
    from django.db import DatabaseError, InterfaceError, connection

    from holdfast.log.base import LogUnavailable

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except (DatabaseError, InterfaceError, LogUnavailable):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main(journal: str) -> None:
    django.setup()
    bailiff = Bailiff(Journal(Path(journal)))
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        answer = _patiently(partial(getattr(bailiff, order), *arguments))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

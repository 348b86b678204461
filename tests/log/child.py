"""Another process that uses a log: ``python -m tests.log.child DATABASE COMMAND ARGUMENT…``.

``DATABASE`` is JSON, an entry of Django's ``DATABASES``. It prints one JSON value.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def run(database: dict[str, Any], command: str, *arguments: object) -> Any:
    """Run a command in a child; ``None`` if it died by SIGKILL."""
    return finish(start(database, command, *arguments))


def start(database: dict[str, Any], command: str, *arguments: object) -> subprocess.Popen[str]:
    entry = {
        key: database[key]
        for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        if key in database
    }
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.log.child",
            json.dumps(entry, default=str),
            command,
            *map(str, arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> Any:
    with child:
        out, _ = child.communicate(timeout=50)
    if child.returncode == -signal.SIGKILL:
        return None
    assert child.returncode == 0, f"the child ended with {child.returncode}"
    return json.loads(out)


def main(database: str, command: str, *arguments: str) -> None:
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": json.loads(database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "holdfast"],
        MIGRATION_MODULES={"holdfast": None} if command == "append_without_migrations" else {},
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
    )
    django.setup()
    from holdfast.log.database import DatabaseLog

    print(json.dumps(COMMANDS[command](DatabaseLog(), *arguments)))


def publish(log: Any, topic: str, first: str, count: str) -> int:
    """Append ``count`` events, in a transaction of their own every second one."""
    from django.db import transaction

    from tests.log.events import drafts

    for n in range(int(first), int(first) + int(count)):
        if n % 2:
            with transaction.atomic():
                log.stage(drafts(topic, n), lambda _: None)
        else:
            log.append(drafts(topic, n))
    return int(count)


def append(log: Any, topic: str, first: str, count: str) -> int:
    """Append ``count`` events, each by itself."""
    from tests.log.events import drafts

    for n in range(int(first), int(first) + int(count)):
        log.append(drafts(topic, n))
    return int(count)


def append_without_migrations(log: Any, topic: str) -> int:
    """Make the tables as pytest-django's --nomigrations does, and append an event."""
    from django.core.management import call_command

    from tests.log.events import drafts, numbers

    call_command("migrate", run_syncdb=True, verbosity=0)
    log.append(drafts(topic, 1))
    return len(numbers(log, topic))


def die_after_commit(log: Any, topic: str, *numbers: str) -> None:
    """Commit events, and be killed before they are numbered."""
    from django.db import transaction

    from tests.log.events import drafts

    with transaction.atomic():
        transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
        log.stage(drafts(topic, *map(int, numbers)), lambda _: None)


def claim(log: Any, key: str) -> str:
    """Claim and answer in one transaction; return the outcome."""
    from django.db import transaction

    from holdfast.log.calls import Answer

    with transaction.atomic():
        claim = log.calls.claim("ada", key, "post", seconds=60)
        if claim.mine:
            log.calls.answer("ada", key, Answer(payload=b"%d" % os.getpid()))
            return "mine"
    return "answer" if claim.answer else "running"


def claim_and_die(log: Any, key: str) -> None:
    """Be killed inside the transaction that holds a claim."""
    from django.db import transaction

    with transaction.atomic():
        assert log.calls.claim("ada", key, "post", seconds=60).mine
        os.kill(os.getpid(), signal.SIGKILL)


def use_without_tables(log: Any) -> list[str]:
    """Return the error of each method when nothing is migrated."""
    from datetime import UTC, datetime

    from holdfast.protocol.positions import Position
    from tests.log.events import drafts

    said = []
    for use in (
        lambda: log.append(drafts("a", 1)),
        lambda: log.sequence(["a"]),
        log.sweep,
        lambda: log.heads(["a"]),
        lambda: log.read("a", Position(epoch="k3", offset=0), 1),
        lambda: log.consistent_read("a", lambda: None),
        lambda: log.trim("a", count=0),
        log.topics,
        lambda: log.calls.claim("a", "b", "c", seconds=1),
        lambda: log.calls.forget(datetime.now(UTC)),
    ):
        try:
            use()
            said.append("nothing")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


COMMANDS = {
    "publish": publish,
    "append": append,
    "append_without_migrations": append_without_migrations,
    "die_after_commit": die_after_commit,
    "claim": claim,
    "claim_and_die": claim_and_die,
    "use_without_tables": use_without_tables,
}

if __name__ == "__main__":
    main(*sys.argv[1:])

"""Processes that issue a command while their database is away: ``python -m tests.control.retrying HOW DIRECTORY``.

The database is an SQLite file. It is away while its directory has another name. The first process starts a second
one, which issues the command, and prints the log when that one has ended.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
from django.conf import settings


def configure(directory: Path) -> None:
    settings.configure(
        INSTALLED_APPS=["holdfast"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": directory / "there" / "db.sqlite3",
                "OPTIONS": {"timeout": 10},
            }
        },
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()


class Outage:
    def __init__(self, directory: Path) -> None:
        self._there, self._elsewhere = directory / "there", directory / "elsewhere"

    def begin(self) -> None:
        from django.db import connections

        connections.close_all()
        self._there.rename(self._elsewhere)

    def end(self) -> None:
        self._elsewhere.rename(self._there)


def order(pk: int) -> None:
    """Issue a command, as a logout does."""
    from holdfast import runtime
    from holdfast.control.commands import Disconnect

    runtime.current().control.issue_with_retry(Disconnect(owner=f"user:{pk}"))


def order_at_the_end_of(outage: Outage) -> None:
    order(2)
    outage.end()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true within 20 s"
        time.sleep(0.01)


def run(how: str, outage: Outage) -> None:
    from holdfast import runtime

    outage.begin()
    order(1)
    waiting = runtime.current().control.retry_queue
    assert len(waiting) == 1
    if how == "waits":
        outage.end()
        wait_until(lambda: len(waiting) == 0)
    elif how == "exits":
        outage.end()
    elif how == "forks":
        # The child has neither the command nor the thread.
        child = os.fork()
        if child == 0:
            assert len(waiting) == 0
            sys.exit()  # through the whole end of the interpreter, as a pre-forked server's worker
        assert os.waitpid(child, 0)[1] == 0
        outage.end()
    elif how == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=order_at_the_end_of, args=[outage])
        process.start()
        process.join()
        assert process.exitcode == 0
    elif how == "forked-worker":
        child = os.fork()
        if child == 0:
            order_at_the_end_of(outage)
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
    else:
        raise SystemExit(f"unknown: {how}")


def main(how: str, directory: str) -> None:
    place = Path(directory)
    configure(place)
    if how.startswith("in:"):
        run(how.removeprefix("in:"), Outage(place))
        return

    from django.core.management import call_command

    from holdfast.control.commands import TOPIC
    from holdfast.log.database import DatabaseLog
    from holdfast.protocol.positions import Position

    (place / "there").mkdir()
    call_command("migrate", verbosity=0)
    log = DatabaseLog()
    log.heads([TOPIC])
    subprocess.run([sys.executable, "-m", "tests.control.retrying", f"in:{how}", directory], check=True)
    start = Position(epoch=log.heads([TOPIC])[TOPIC].epoch, offset=0)
    print(json.dumps(sorted(json.loads(entry.payload)["owner"] for entry in log.read(TOPIC, start, 100))))


if __name__ == "__main__":
    main(*sys.argv[1:])

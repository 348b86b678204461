"""Half of an installation of two processes: `python -m tests.backplane.news HOW DATABASE REDIS COMPARE LOG [COUNT]`.

`hear` is a server: a hub with a subscriber of `rooms/lobby`, which prints each event. `publish` is a worker without an event
loop: it publishes COUNT durable events, a few milliseconds apart, numbered from 0; then it ends. `die` is a worker that is
killed at the moment when the log has taken its first event.
"""

import asyncio
import os
import signal
import sys
import time
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command


class Member:
    """Prints the events and notices that it gets."""

    client = ""
    ready = True
    blocked = False

    def write(self, burst: Any) -> None:
        for event in burst.events:
            print(event.offset, event.payload.decode(), flush=True)

    def write_reset(self, reset: Any) -> None:
        print("reset", reset.payload.reason, flush=True)

    def fail(self) -> None:
        print("failed", flush=True)

    def overflow(self) -> None:
        print("stalled", flush=True)


def set_up(database: str, url: str, compare: str, log: str) -> Any:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }
        },
        HOLDFAST={"REDIS": url, "RECONCILE_SECONDS": float(compare), "LOG": log},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "holdfast"],
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
    )
    django.setup()
    from holdfast import runtime

    return runtime.current()


async def hear(runtime: Any) -> None:
    hub = await runtime.hub()
    for topic, durable in (("rooms/lobby", True), ("rooms/ephemeral", False)):
        join = await hub.begin_join(topic, durable=durable)
        join.subscribe(Member())
    print("ready", flush=True)
    # Until the standard input is closed.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runtime.stop()


def publish(runtime: Any, count: int) -> None:
    from holdfast.log.base import Draft

    for number in range(count):
        began = time.perf_counter()
        runtime.publisher.publish(
            [Draft(topic="rooms/lobby", name="said", payload=b"%d" % number)], durable=True
        )
        took = time.perf_counter() - began
        print(f"{took * 1000:.3f}", flush=True)
        time.sleep(0.005)
    runtime.publisher.publish(
        [Draft(topic="rooms/ephemeral", name="said", payload=b"passing")], durable=False
    )


def die(runtime: Any) -> None:
    append = runtime.log.append

    def append_and_die(drafts: Any) -> None:
        append(drafts)
        os.kill(os.getpid(), signal.SIGKILL)

    runtime.log.append = append_and_die
    publish(runtime, 1)


if __name__ == "__main__":
    how, database, url, compare, log, *rest = sys.argv[1:]
    made = set_up(database, url, compare, log)
    if how == "migrate":
        call_command("migrate", verbosity=0)
    elif how == "hear":
        asyncio.run(hear(made))
    elif how == "die":
        die(made)
    else:
        publish(made, int(rest[0]))

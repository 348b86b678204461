"""A process whose threads are greenlets: ``python -m tests.backplane.greenlets PATCHER BACKEND URL PREFIX``.

PATCHER is gevent or eventlet, and BACKEND as in :mod:`.program`. While messages leave, and while sending fails, no greenlet
but the one of the background loop may find a running loop that is not its own.
"""

import sys
import warnings

PATCHER = sys.argv[1]
if PATCHER == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    warnings.simplefilter("ignore")  # eventlet's own warning that it is deprecated
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402
import logging  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402

import django  # noqa: E402
import pytest  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

from holdfast.backplane.base import Backplane  # noqa: E402
from holdfast.backplane.channels import ChannelsBackplane  # noqa: E402
from holdfast.backplane.local import LocalBackplane  # noqa: E402
from holdfast.backplane.memory import MemoryBackplane  # noqa: E402
from holdfast.backplane.redis import RedisBackplane  # noqa: E402
from holdfast.log.memory import MemoryLog  # noqa: E402
from holdfast.redis.client import RedisStore  # noqa: E402
from holdfast.runtime import Runtime  # noqa: E402
from holdfast.threads.threads import Inline, Threads  # noqa: E402


@contextmanager
def no_greenlet_finds_a_loop() -> Iterator[None]:
    """Check in a greenlet, as often as it gets its turn."""
    found: set[object] = set()
    looked, done = [0], threading.Event()

    def look() -> None:
        while not done.is_set():
            looked[0] += 1
            found.add(asyncio._get_running_loop())
            time.sleep(0.0005)

    looking = threading.Thread(target=look)
    looking.start()
    yield
    done.set()
    looking.join()
    assert looked[0] > 5
    assert found == {None}, found


class Slow(logging.Handler):
    """A handler that waits, as one that sends records over the network may."""

    def emit(self, record: logging.LogRecord) -> None:
        records.append(record.getMessage())
        time.sleep(0.05)


records: list[str] = []


def send(backplane: Backplane, count: int = 100) -> None:
    for number in range(count):
        backplane.send("rooms/lobby", b"%d" % number)
        if number % 10 == 0:
            time.sleep(0.001)


def beside_a_loop_of_the_application(backplane: Backplane) -> None:
    """Run asyncio of the application in a greenlet, while messages leave."""

    async def main() -> int:
        turns, mine = 0, asyncio.get_running_loop()
        while not done.is_set():
            await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is mine
            turns += 1
        return turns

    done = threading.Event()

    def run() -> None:
        send(backplane)
        assert backplane.flush(10)
        done.set()

    sending = threading.Thread(target=run)
    sending.start()
    assert asyncio.run(main()) > 2
    sending.join()
    assert asyncio._get_running_loop() is None


def refuses_to_serve() -> None:
    runtime = Runtime(log=MemoryLog(), backplane=MemoryBackplane(), threads=Threads(1), log_threads=Inline())
    with pytest.raises(ImproperlyConfigured, match=f"{PATCHER} has replaced .* manage.py holdfast serve"):
        asyncio.run(runtime.hub())


def say_last_words(backplane: Backplane) -> None:
    refuses_to_serve()
    backplane.send("rooms/lobby", b"last words")


def main(backend: str, url: str, prefix: str) -> None:
    layer = {"BACKEND": backend, "CONFIG": {"hosts": [url], "prefix": prefix}}
    away = {"BACKEND": backend, "CONFIG": {"hosts": ["redis://localhost:9/0"], "prefix": prefix}}
    layers = {"default": layer, "away": away} if backend not in ("redis", "local") else {}
    settings.configure(CHANNEL_LAYERS=layers)
    django.setup()
    logging.getLogger("holdfast.backplane").addHandler(Slow())

    def reaching(alias: str, url: str) -> Backplane:
        if backend == "local":
            return LocalBackplane(Path(url))
        return RedisBackplane(RedisStore(url)) if backend == "redis" else ChannelsBackplane(alias)

    backplane = reaching("default", url)
    with no_greenlet_finds_a_loop():
        send(backplane)
        assert backplane.flush(10)
    beside_a_loop_of_the_application(backplane)
    if backend == "local":
        say_last_words(backplane)
        return
    with no_greenlet_finds_a_loop():
        unreachable = reaching("away", "redis://localhost:9/0")
        send(unreachable, 20)
        unreachable.flush(0.5)
    assert any("cannot send" in record for record in records), records
    say_last_words(backplane)


if __name__ == "__main__":
    main(*sys.argv[2:])

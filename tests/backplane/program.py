"""A process that only sends: `python -m tests.backplane.program HOW BACKEND URL PREFIX [COUNT]`.

BACKEND is the class of a channel layer, `redis` for Redis itself, or `local` for UNIX sockets in the folder URL. `many` with a COUNT of 100000 is also the bench of what a process without a loop can send, and of what that leaks.
"""

import asyncio
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import django
from django.conf import settings

from holdfast.backplane.base import Backplane
from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.local import LocalBackplane
from holdfast.backplane.redis import RedisBackplane
from holdfast.log.base import Draft
from holdfast.log.memory_calls import MemoryCalls
from holdfast.log.redis import RedisLog
from holdfast.redis.client import RedisStore


def sockets() -> int:
    """Return the number of open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def memory() -> int:
    """Return the bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def hear_a_child(backplane: RedisBackplane, log: RedisLog) -> None:
    """Check that a child's events in the parent's log are announced to the parent, and the parent's own are not."""
    news: list[bytes] = []
    heard = asyncio.Event()

    def receive(topic: str, message: bytes) -> None:
        news.append(message)
        heard.set()

    def append(name: str) -> None:
        log.append([Draft(topic="rooms/deck", name=name, payload=b"{}")])

    await backplane.start(receive, lambda topic, message: None, lambda: None)
    await backplane.subscribe("rooms/deck")
    append("parent")
    if (child := os.fork()) == 0:
        append("child")
        os._exit(0)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    await asyncio.wait_for(heard.wait(), 10)
    await backplane.stop()
    (message,) = news
    assert b"child" in message


def made(backend: str, url: str) -> Backplane:
    if backend == "local":
        return LocalBackplane(Path(url))
    return RedisBackplane(RedisStore(url)) if backend == "redis" else ChannelsBackplane()


def main(how: str, backend: str, url: str, prefix: str, count: str = "20000") -> None:
    layer = {"BACKEND": backend, "CONFIG": {"hosts": [url], "prefix": prefix}}
    settings.configure(CHANNEL_LAYERS={"default": layer} if backend not in ("redis", "local") else {})
    django.setup()
    backplane = made(backend, url)
    # Descriptors of connections; channel layers have one for each lane. And those of a loop that sends what has to wait.
    most = {"redis": 2, "local": 4}.get(backend, 8)

    def say(text: str) -> None:
        backplane.send("rooms/lobby", text.encode())

    def say_surely(text: str) -> None:
        say(text)
        assert backplane.flush(10)

    def end_child() -> NoReturn:
        say("child")
        sys.exit()  # through the whole end of the interpreter, as a pre-forked server's worker

    if how == "at-exit":
        say("last words")
    elif how == "thread":
        thread = threading.Thread(target=say, args=["from a thread"])
        thread.start()
        thread.join()
    elif how == "fork":
        say_surely("parent")
        before = sockets()
        child = os.fork()
        if child == 0:
            end_child()
        assert os.waitpid(child, 0)[1] == 0
        say_surely("parent again")
        assert sockets() == before
    elif how == "fork-announced":
        assert isinstance(backplane, RedisBackplane)
        asyncio.run(
            hear_a_child(
                backplane, RedisLog(RedisStore(url), calls=MemoryCalls(), announce=backplane.announce)
            )
        )
    elif how == "fork-while-queued":
        for number in range(200):
            say(f"{number}")
        child = os.fork()
        if child == 0:
            end_child()
        assert os.waitpid(child, 0)[1] == 0
        assert backplane.flush(10)
    elif how == "leave":
        say_surely("parent")
        child = os.fork()
        if child == 0:
            say("child")
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        say("last words")
        os._exit(0)
    elif how == "multiprocessing":
        say_surely("parent")
        process = multiprocessing.get_context("fork").Process(target=say, args=["child"])
        process.start()
        process.join()
        assert process.exitcode == 0
        say_surely("parent again")
    elif how == "many":
        say_surely("warm")
        before, began = sockets(), time.perf_counter()
        bytes_before = memory()
        for _ in range(int(count) // 2000):
            for number in range(2000):
                backplane.send(f"rooms/nobody-{number % 10}", b"x" * 128)
            assert backplane.flush(100)
            assert sockets() <= before + most
        assert not getattr(backplane, "lost", None)
        rate = int(count) / (time.perf_counter() - began)
        print(f"{rate:,.0f} messages/s, {sockets()} descriptors, {(memory() - bytes_before) / 1e6:+.1f} MB")
        assert threading.active_count() in ((1, 2) if backend == "local" else (2,))
        say_surely("done")
    else:
        raise SystemExit(f"unknown: {how}")


if __name__ == "__main__":
    main(*sys.argv[1:])

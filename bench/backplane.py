"""Benchmark of the backplanes, which carry events between processes: python -m bench.backplane

Three questions, put to Holdfast's own Redis backplane and to both layers of channels_redis, by turns, on one Redis:

receiving   How many events can one core receive? One process publishes 128 bytes again and again, without a log; the other
            has a hub with a subscriber of each topic, which counts. Only the CPU of the receiving process counts.
publishing  How long does ``publish`` keep a process without an event loop? Without a log, with the log in SQLite and with
            the log in PostgreSQL (both as in bench/publish.py); there beside the time of one INSERT of the same row. And
            with the log in that Redis, which keeps nothing on disk here. Where Redis is also the backplane, appending
            announces the events to the other processes.
latency     How long after ``publish`` does the subscriber's outlet in another process have the event, at 1,000 a second?

Nothing is pinned but the receiver, to core 0; the publisher and Redis share core 1.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bench.machine import LOAD_CORE, ROOT, SERVER_CORE, busy, described, pinned
from bench.publish import running

WAYS = {
    "redis": "Redis",
    "channels_redis.core.RedisChannelLayer": "channels_redis, core",
    "channels_redis.pubsub.RedisPubSubChannelLayer": "channels_redis, pub/sub",
}
INSERT = "insert"
LOGS = {"none": "memory", "redis": "redis", "sqlite": "database", "postgres": "database"}
EVENT = b'{"padding":"' + b"x" * 114 + b'"}'
GOAL_PER_SECOND, GOAL_PUBLISH, GOAL_LATENCY = 15_000, 300.0, 15.0


# ── in the processes that are measured ───────────────────────────────────────────────────────────────────────────────


def set_up(way: str, url: str, log: str = "memory", database: dict[str, Any] | None = None) -> Any:
    """Django and a runtime, as a project with this backplane has them."""
    import django
    from django.conf import settings

    layers = {"default": {"BACKEND": way, "CONFIG": {"hosts": [url], "prefix": "bench"}}}
    settings.configure(
        CHANNEL_LAYERS={} if way == "redis" else layers,
        HOLDFAST={
            "LOG": log,
            "BACKPLANE": "redis" if way == "redis" else "channels",
            "REDIS": url,
            "PRESENCE": "memory",
        },
        DATABASES={"default": database} if database else {},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "holdfast"],
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
    )
    django.setup()
    from holdfast import runtime

    return runtime.current()


class Counting:
    """A subscriber that only counts, and notes how long each event took if its payload says when it was published."""

    client = ""
    ready = True
    blocked = False

    def __init__(self, *, timed: bool) -> None:
        self.count = 0
        self.resets = 0
        self.timed = timed
        self.late: list[float] = []

    def write(self, burst: Any) -> None:
        self.count += len(burst.events)
        if self.timed:
            now = time.monotonic_ns()
            self.late += [(now - int(event.payload[12:28])) / 1e6 for event in burst.events]

    def write_reset(self, reset: Any) -> None:
        self.resets += 1

    def fail(self) -> None: ...

    def overflow(self) -> None: ...


async def receive(way: str, url: str, topics: int, timed: bool) -> None:
    """Receive until the parent closes the standard input. Answer each line of it with the counts so far."""
    runtime = set_up(way, url)
    hub = await runtime.hub()
    outlet = Counting(timed=timed)
    for number in range(topics):
        join = await hub.begin_join(f"bench/{number}", durable=False)
        join.subscribe(outlet)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print("ready", flush=True)
    while await reader.readline():
        used = time.process_time()
        print(json.dumps([outlet.count, used, outlet.resets, sorted(outlet.late)]), flush=True)
        outlet.late.clear()
    await runtime.stop()


def send(way: str, url: str, topics: int, seconds: float, window: int, pause: float) -> None:
    """``window`` events at once, then as many again when they are on their way; or one every ``pause`` seconds."""
    from holdfast.log.base import Draft

    runtime = set_up(way, url)
    publish = runtime.publisher.publish
    sent = 0
    ends = time.perf_counter() + seconds
    due = time.perf_counter()
    while time.perf_counter() < ends:
        for _ in range(window):
            payload = b'{"padding":"%016d' % time.monotonic_ns() + b"x" * 98 + b'"}' if pause else EVENT
            publish(
                [Draft(topic=f"bench/{sent % topics}", name="bench.event", payload=payload)], durable=False
            )
            sent += 1
        if pause:
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))
        else:
            runtime.backplane.flush(10)
    runtime.backplane.flush(10)
    print(json.dumps([sent, dict(runtime.backplane.lost)]), flush=True)


def publish_one(runtime: Any, *, durable: bool) -> None:
    from holdfast.log.base import Draft

    runtime.publisher.publish([Draft(topic="bench/0", name="bench.event", payload=EVENT)], durable=durable)


def insert() -> None:
    """Return the time of the database for a row of that size, in a transaction of its own."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bench_row (name, payload) VALUES (%s, %s)", ("bench.event", EVENT.decode())
        )


def publish(way: str, url: str, log: str, database: str, count: int) -> None:
    """Return the time of each of ``count`` calls, in microseconds."""
    runtime = set_up("redis" if way == INSERT else way, url, log, json.loads(database))
    once = insert if way == INSERT else partial(publish_one, runtime, durable=log != "memory")
    took = []
    for number in range(count + 50):
        began = time.perf_counter()
        once()
        if number >= 50:
            took.append((time.perf_counter() - began) * 1e6)
        time.sleep(0.0005)  # as a view does something else in between
    runtime.backplane.flush(10)
    print(json.dumps(sorted(took)), flush=True)


# ── the bench ────────────────────────────────────────────────────────────────────────────────────────────────────────


def child(core: int, *arguments: object) -> subprocess.Popen[str]:
    command = pinned(core, sys.executable, "-m", "bench.backplane", *map(str, arguments))
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process of the bench ended with {process.wait()}")
    return json.loads(line)


@contextmanager
def receiver(way: str, url: str, topics: int, *, timed: bool = False) -> Iterator[Callable[[], Any]]:
    process = child(SERVER_CORE, "--receive", way, url, topics, int(timed))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()

    def ask() -> Any:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return said(process)

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait(20)


def receiving(way: str, url: str, seconds: float, topics: int, window: int) -> float:
    """Events for each second of the receiver's CPU."""
    with receiver(way, url, topics) as ask:
        before, used_before, *_ = ask()
        sent, lost = said(child(LOAD_CORE, "--send", way, url, topics, seconds, window, 0))
        count, used, resets, _ = ask()
        for _ in range(100):
            if count - before >= sent:
                break
            time.sleep(0.05)
            count, used, resets, _ = ask()
        if count - before != sent or lost or resets:
            print(f"    {way}: {sent} sent, {count - before} received, lost: {lost}, resets: {resets}")
        return float((count - before) / (used - used_before))


def latency(way: str, url: str, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds, of one event every millisecond."""
    with receiver(way, url, 1, timed=True) as ask:
        said(child(LOAD_CORE, "--send", way, url, 1, 0.5, 1, 0.001))
        ask()  # what came while everything was new
        said(child(LOAD_CORE, "--send", way, url, 1, seconds, 1, 0.001))
        time.sleep(0.3)
        late = ask()[3]
        return statistics.median(late), late[int(len(late) * 0.99)]


def publishing(
    way: str, url: str, log: str, database: dict[str, Any] | None, count: int
) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds."""
    took = said(child(LOAD_CORE, "--publish", way, url, log, json.dumps(database), count))
    return statistics.median(took), took[int(len(took) * 0.99)]


def migrate(database: dict[str, Any]) -> None:
    source = "import json,sys; from bench.publish import set_up; set_up(json.loads(sys.argv[1])); "
    source += "from django.core.management import call_command; call_command('migrate', verbosity=0); "
    source += "from django.db import connection; "
    source += "connection.cursor().execute('CREATE TABLE bench_row (name text, payload text)')"
    subprocess.run([sys.executable, "-c", source, json.dumps(database)], cwd=ROOT, check=True)


def by_turns(runs: int, measure: Callable[[str], Any], ways: Iterable[str] = WAYS) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            found[way].append(measure(way))
    return found


def middle(values: list[Any]) -> Any:
    if isinstance(values[0], tuple):
        return tuple(statistics.median(part) for part in zip(*values, strict=True))
    return statistics.median(values)


def main(seconds: float, runs: int, only: str) -> None:
    from tests.services.redis import running_redis

    os.sched_setaffinity(0, {LOAD_CORE})
    print(described(), f"others use {busy(1):.0%} of the cores")
    with running_redis() as server:
        if only in ("", "receiving"):
            for topics, window in ((1, 100), (100, 100), (1, 1)):
                print(f"\nreceiving, {topics} topics, {window} events at once")
                found = by_turns(runs, lambda way: receiving(way, server.url, seconds, topics, window))  # noqa: B023
                for way, values in found.items():
                    spread = f"({min(values):,.0f} to {max(values):,.0f})"
                    print(f"  {WAYS[way]:26} {middle(values):10,.0f} events/s of CPU {spread}")
        if only in ("", "publishing"):
            for kind, log in LOGS.items():
                print(f"\npublishing, log: {kind}")
                with running(kind) if log == "database" else no_database() as database:
                    if database is not None:
                        migrate(database)
                    ways = {**WAYS, **({INSERT: "one INSERT, nothing else"} if database is not None else {})}
                    found = by_turns(runs, lambda way: publishing(way, server.url, log, database, 2000), ways)  # noqa: B023
                for way, values in found.items():
                    print(
                        f"  {ways[way]:26} p50 {middle(values)[0]:7,.0f} µs   p99 {middle(values)[1]:7,.0f} µs"
                    )
        if only in ("", "latency"):
            print("\nlatency at 1,000 events/s")
            for way, values in by_turns(runs, lambda way: latency(way, server.url, seconds)).items():
                print(f"  {WAYS[way]:26} p50 {middle(values)[0]:6.2f} ms   p99 {middle(values)[1]:6.2f} ms")
    print(f"\nothers used {busy(1):.0%} of the cores in the end")
    print(f"goals: {GOAL_PER_SECOND:,}/s received, {GOAL_PUBLISH:g} µs p50, {GOAL_LATENCY:g} ms p99")


@contextmanager
def no_database() -> Iterator[None]:
    yield None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["", "receiving", "publishing", "latency"], default="")
    parser.add_argument("--receive", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--publish", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.receive:
        way, url, topics, timed = given.receive
        asyncio.run(receive(way, url, int(topics), timed == "1"))
    elif given.send:
        way, url, topics, seconds, window, pause = given.send
        send(way, url, int(topics), float(seconds), int(window), float(pause))
    elif given.publish:
        way, url, log, database, count = given.publish
        publish(way, url, log, database, int(count))
    else:
        main(given.seconds, given.runs, given.only)

"""Benchmark of publishing into the log, on SQLite, on PostgreSQL and in Redis.

    python bench/publish.py                       everything, three runs of each
    python bench/publish.py --database postgres --seconds 5 --runs 5

PostgreSQL is started for this, with its default settings (fsync is on); SQLite is a file in WAL mode with
synchronous=NORMAL; Redis is started too, with an append-only file that is flushed every second. Where Redis announces
events as it appends them, no process is subscribed. Every event is 128 bytes of JSON. Each writer is a process (or a thread,
with --threads) with a connection of its own; all write to one topic. Afterwards the log is read back: an event that is
missing, doubled or out of its writer's order is an error.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PADDING = "x" * 90


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to publish."""

    name: str
    database: str
    writers: int
    batch: int
    goal: int | None
    """Events per second."""
    transaction: bool = False
    announced: bool = False
    """Does the log tell the other processes as it appends?"""


CASES = [
    Case(name="one by one", database="sqlite", writers=1, batch=1, goal=5_000),
    Case(name="in a transaction each", database="sqlite", writers=1, batch=1, goal=5_000, transaction=True),
    Case(name="by the hundred", database="sqlite", writers=1, batch=100, goal=20_000),
    Case(name="one by one", database="postgres", writers=1, batch=1, goal=None),
    Case(name="one by one", database="postgres", writers=8, batch=1, goal=3_000),
    Case(name="in a transaction each", database="postgres", writers=8, batch=1, goal=3_000, transaction=True),
    Case(name="by the hundred", database="postgres", writers=1, batch=100, goal=20_000),
    Case(name="by the hundred", database="postgres", writers=8, batch=100, goal=20_000),
    Case(name="one by one", database="redis", writers=1, batch=1, goal=None),
    Case(name="one by one", database="redis", writers=8, batch=1, goal=None),
    Case(name="by the hundred", database="redis", writers=1, batch=100, goal=None),
    Case(name="by the hundred", database="redis", writers=8, batch=100, goal=None),
    Case(name="one by one, announced", database="redis", writers=1, batch=1, goal=None, announced=True),
    Case(name="one by one, announced", database="redis", writers=8, batch=1, goal=None, announced=True),
    Case(name="by the hundred, announced", database="redis", writers=1, batch=100, goal=None, announced=True),
    Case(name="by the hundred, announced", database="redis", writers=8, batch=100, goal=None, announced=True),
]

REDIS = "BENCH_REDIS"
"""In the environment: the URL of the Redis that holds the log."""


def set_up(database: dict[str, Any]) -> None:
    settings.configure(
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "holdfast"],
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
    )
    django.setup()


@contextlib.contextmanager
def running(kind: str) -> Iterator[dict[str, Any]]:
    """A database, as an entry of Django's ``DATABASES``."""
    if kind == "redis":
        from tests.services.redis import running_redis

        with running_redis() as redis, running("sqlite") as database:
            with redis.client() as client:
                client.config_set("appendfsync", "everysec")
                client.config_set("appendonly", "yes")
            os.environ[REDIS] = redis.url
            yield database
    elif kind == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(directory) / "bench.sqlite3"),
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }
    else:
        from tests.services.postgres import running_postgres

        with running_postgres() as server:
            server.create_database("bench")
            yield {"ENGINE": "django.db.backends.postgresql", **server.django("bench")}


def the_log(*, announced: bool = False) -> Any:
    if REDIS in os.environ:
        from holdfast.backplane.redis import RedisBackplane
        from holdfast.log.database_calls import DatabaseCalls
        from holdfast.log.redis import RedisLog
        from holdfast.redis.client import RedisStore

        store = RedisStore(os.environ[REDIS])
        return RedisLog(
            store, calls=DatabaseCalls(), announce=RedisBackplane(store).announce if announced else None
        )
    from holdfast.log.database import DatabaseLog

    return DatabaseLog()


def write(case: Case, topic: str, writer: int, seconds: float) -> list[float]:
    """Publish for ``seconds``; how long each publish took."""
    from django.db import connection, transaction

    from holdfast.log.base import Draft

    log = the_log(announced=case.announced)
    log.append([Draft(topic=f"warm/{writer}", name="warm", payload=b"{}")])
    took = []
    number = 0
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        drafts = [
            Draft(
                topic=topic,
                name="bench.event",
                payload=b'{"w":%d,"n":%d,"p":"%b"}' % (writer, number + i, PADDING.encode()),
            )
            for i in range(case.batch)
        ]
        number += case.batch
        if case.transaction:
            with transaction.atomic():
                log.stage(drafts, lambda batches: None)
        else:
            log.append(drafts)
        took.append(time.perf_counter() - started)
    connection.close()
    return took


def work(
    database: dict[str, Any], case: Case, topic: str, writer: int, seconds: float, start: Any, out: Any
) -> None:
    """One writer's process."""
    set_up(database)
    start.wait()
    out.put(write(case, topic, writer, seconds))


def run(case: Case, database: dict[str, Any], seconds: float, threads: bool) -> tuple[float, list[float]]:
    """Events per second, and how long each publish took, sorted."""
    topic = f"bench/{uuid.uuid4().hex}"
    took: list[float] = []
    if threads or case.writers == 1:
        workers: list[Any] = [
            threading.Thread(target=lambda n=n: took.extend(write(case, topic, n, seconds)))
            for n in range(case.writers)
        ]
        for worker in workers:
            worker.start()
    else:
        context = multiprocessing.get_context("spawn")
        start, out = context.Barrier(case.writers), context.Queue()
        workers = [
            context.Process(target=work, args=(database, case, topic, n, seconds, start, out))
            for n in range(case.writers)
        ]
        for worker in workers:
            worker.start()
        for _ in workers:
            took += out.get()
    for worker in workers:
        worker.join()
    check(topic, case, len(took) * case.batch)
    return len(took) * case.batch / seconds, sorted(took)


def check(topic: str, case: Case, events: int) -> None:
    """Read all of it back."""
    from holdfast.protocol.positions import Position

    log = the_log()
    log.sequence([topic])
    head = log.heads([topic])[topic]
    offset, seen = 0, dict.fromkeys(range(case.writers), 0)
    while entries := log.read(topic, Position(epoch=head.epoch, offset=offset), 1000):
        for entry in entries:
            offset += 1
            payload = json.loads(entry.payload)
            assert entry.offset == offset, f"{entry.offset} where {offset} belongs"
            assert payload["n"] == seen[payload["w"]], f"{payload['n']} where {seen[payload['w']]} belongs"
            seen[payload["w"]] += 1
    assert offset == events, f"{offset} events in the log, {events} were published"


def measure(case: Case, repeat: Callable[[], tuple[float, list[float]]], runs: int) -> bool:
    rates, took = zip(*[repeat() for _ in range(runs)], strict=True)
    rate = statistics.median(rates)
    middle = took[rates.index(sorted(rates)[len(rates) // 2])]
    p50, p95, p99 = (
        1000 * middle[min(int(len(middle) * part), len(middle) - 1)] for part in (0.5, 0.95, 0.99)
    )
    met = case.goal is None or rate >= case.goal
    goal = "" if case.goal is None else f"{case.goal:,} {'met' if met else 'MISSED'}"
    print(
        f"{case.database:9} {case.writers:7} {case.name:25} {rate:9,.0f} {p50:9.2f} {p95:8.2f} {p99:8.2f}  {goal}",
        flush=True,
    )
    return met


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=["sqlite", "postgres", "redis"], help="only this one")
    parser.add_argument("--seconds", type=float, default=3, help="how long each run writes (3)")
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each case, of which the median counts (3)"
    )
    parser.add_argument(
        "--threads", action="store_true", help="writers are threads of one process, not processes"
    )
    parser.add_argument("--bare", action="store_true", help="without the heading")
    options = parser.parse_args()
    if not options.bare:
        print(
            f"{'database':9} {'writers':>7} {'publishing':25} {'events/s':>9} {'p50 ms':>9} {'p95':>8} {'p99':>8}  goal",
            flush=True,
        )
    if options.database is None:  # a process has one set of settings
        codes = [
            subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--database", kind, "--bare"], check=False
            ).returncode
            for kind in ("sqlite", "postgres", "redis")
        ]
        return max(codes)
    return bench(options.database, options)


def bench(kind: str, options: argparse.Namespace) -> int:
    with running(kind) as database:
        set_up(database)
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        missed = 0
        for case in CASES:
            if case.database == kind:
                missed += not measure(
                    case,
                    lambda case=case: run(case, database, options.seconds, options.threads),
                    options.runs,
                )
        connection.close()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Benchmark of one event for every user, each on their own durable topic.

    python bench/everyone.py                                  every log, 10,000 topics, three runs of each
    python bench/everyone.py --log postgres --topics 1000 --runs 1

Three ways to publish one event of 128 bytes to each topic: ``holdfast.publish([(topic, event), …])``, a loop of
``topic.publish(event)`` inside one ``atomic()``, and the same loop without a transaction. The time counts from the first
call until the events have their offsets and this process has handed them to its backplane, after the commit. ``first``:
none of the topics existed; ``again``: all of them did. PostgreSQL is started for this with its default settings (fsync is
on); SQLite is a file in WAL mode with synchronous=NORMAL; Redis has an append-only file that is flushed every second.
Afterwards the log is read back: an event that is missing or doubled is an error.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from django.conf import settings

from bench.publish import PADDING, running

LOGS = ["sqlite", "postgres", "redis", "memory"]

GOALS = {"sqlite": 0.8, "postgres": 1.5}
"""Seconds for 10,000 topics in one batch."""


def set_up(kind: str, database: dict[str, Any]) -> None:
    import os

    holdfast: dict[str, Any] = {"LOG": {"redis": "redis", "memory": "memory"}.get(kind, "database")}
    if kind == "redis":
        holdfast["REDIS"] = os.environ["BENCH_REDIS"]
    settings.configure(
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "holdfast"],
        SECRET_KEY="nothing is signed here",
        USE_TZ=True,
        HOLDFAST=holdfast,
    )
    django.setup()


def ways() -> dict[str, Callable[[list[Any], Any], None]]:
    from django.db import transaction

    import holdfast

    def batch(topics: list[Any], event: Any) -> None:
        with transaction.atomic():
            holdfast.publish((topic, event) for topic in topics)

    def batch_alone(topics: list[Any], event: Any) -> None:
        holdfast.publish((topic, event) for topic in topics)

    def loop(topics: list[Any], event: Any) -> None:
        with transaction.atomic():
            for topic in topics:
                topic.publish(event)

    def loop_alone(topics: list[Any], event: Any) -> None:
        for topic in topics:
            topic.publish(event)

    found: dict[str, Callable[[list[Any], Any], None]] = {
        "holdfast.publish in atomic()": batch,
        "holdfast.publish": batch_alone,
        "loop in atomic()": loop,
        "loop": loop_alone,
    }
    return (
        found
        if hasattr(holdfast, "publish")
        else {name: way for name, way in found.items() if "loop" in name}
    )


@contextlib.contextmanager
def logs(kind: str) -> Iterator[None]:
    with running("sqlite" if kind == "memory" else kind) as database:
        set_up(kind, database)
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        yield
        connection.close()


def bench(kind: str, options: argparse.Namespace) -> int:
    import holdfast
    from holdfast import runtime

    class Told(holdfast.Event):
        text: str

    class Inbox(holdfast.Topic):
        route = "inbox/<str:owner>"
        events = (Told,)
        keep = holdfast.Keep(days=1)

        def may_join(self, user: Any) -> bool:
            return False

    missed = 0
    event = Told(PADDING)
    for name, way in ways().items():
        first, again = [], []
        for _ in range(options.runs):
            run = uuid.uuid4().hex[:8]
            topics = [Inbox(owner=f"{run}-{number}") for number in range(options.topics)]
            for took in (first, again):
                started = time.perf_counter()
                way(topics, event)
                took.append(time.perf_counter() - started)
            heads = runtime.current().log.heads([topic.name for topic in topics])
            assert all(heads[topic.name].offset == 2 for topic in topics), "an event is missing, or doubled"
        goal = GOALS.get(kind) if "publish" in name and options.topics == 10_000 else None
        met = goal is None or statistics.median(first) <= goal
        missed += not met
        verdict = "" if goal is None else f"{goal} s {'met' if met else 'MISSED'}"
        print(
            f"{kind:9} {name:30} {statistics.median(first):8.2f} {statistics.median(again):8.2f}  {verdict}",
            flush=True,
        )
    return int(missed > 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", choices=LOGS, help="only this one")
    parser.add_argument("--topics", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts (3)")
    parser.add_argument("--bare", action="store_true", help="without the heading")
    options = parser.parse_args()
    if not options.bare:
        print(f"{'log':9} {'publishing':30} {'first s':>8} {'again s':>8}  goal", flush=True)
    if options.log is None:  # a process has one set of settings
        codes = [
            subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--log", kind, "--bare"], check=False
            ).returncode
            for kind in LOGS
        ]
        return max(codes)
    with logs(options.log):
        return bench(options.log, options)


if __name__ == "__main__":
    sys.exit(main())

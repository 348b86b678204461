"""Workers of task queues, real ones: what their jobs publish reaches Redis, all of it and promptly."""

import http.cookiejar
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .publishing.jobs import published
from .publishing.place import Gunicorn, Place, eventually
from .tables import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SCRIPTS = Path(sys.executable).parent
JOBS = "tests.fleet.publishing.jobs"

PROMPTLY = 5.0
"""Seconds from the publication to Redis, on a machine that tests keep busy. The workers do not end before the last one."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A kind of worker: the command that starts it, and the sign that it is ready."""

    queue: str
    command: tuple[str, ...]
    ready: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def celery(pool: str, *options: str) -> Worker:
    command = ("-m", "celery", "-A", f"{JOBS}.with_celery", "worker", "--pool", pool, "--loglevel", "INFO")
    return Worker(
        queue="celery",
        command=(*command, "--without-gossip", "--without-mingle", *options),
        ready=" ready.",
        environment={"PYTHONWARNINGS": "ignore"},  # of eventlet's own deprecation
    )


def huey(kind: str) -> Worker:
    command = ("-m", "huey.bin.huey_consumer", f"{JOBS}.with_huey.huey", "-w", "2", "-k", kind)
    return Worker(queue="huey", command=command, ready="Huey consumer started")


WORKERS = {
    "celery-prefork": celery("prefork", "--concurrency", "2"),
    "celery-a-child-for-each-task": celery("prefork", "--concurrency", "2", "--max-tasks-per-child", "1"),
    "celery-threads": celery("threads", "--concurrency", "2"),
    "celery-solo": celery("solo"),
    "celery-gevent": celery("gevent", "--concurrency", "10"),
    "celery-eventlet": celery("eventlet", "--concurrency", "10"),
    "rq": Worker(queue="rq", command=("-m", "rq.cli", "worker", "-c", f"{JOBS}.with_rq", "--verbose")),
    "rq-set-up-before-the-fork": Worker(queue="rq", command=("-m", f"{JOBS}.with_rq")),
    "huey-threads": huey("thread"),
    "huey-processes": huey("process"),
    "huey-greenlets": huey("greenlet"),
    "dramatiq": Worker(
        queue="dramatiq", command=("-m", "dramatiq", f"{JOBS}.with_dramatiq", "-p", "2", "-t", "2")
    ),
    "dramatiq-gevent": Worker(
        queue="dramatiq",
        command=(f"{SCRIPTS}/dramatiq-gevent", f"{JOBS}.with_dramatiq", "-p", "1", "-t", "10"),
    ),
}


def send(place: Place, queue: str, *names: str) -> None:
    """Put jobs into the queue, from a process that ends."""
    module = f"{JOBS}.with_{queue}"
    place.run("-c", f"import {module} as queue\nfor name in {names!r}: queue.send(name)")


@pytest.mark.parametrize("kind", WORKERS)
def test_what_a_job_publishes_reaches_redis_promptly(place: Place, kind: str) -> None:
    worker = WORKERS[kind]
    names = [f"{kind}-{number}" for number in range(3)]
    place.environment.update(worker.environment)
    running = place.start(kind, *worker.command)
    try:
        if worker.ready:
            running.wait_until(lambda: worker.ready in running.output(last=100_000), seconds=60)
        send(place, worker.queue, *names)
        values = [value for name in names for value in published(name)]
        arrived = eventually(lambda: all(map(place.told, values)), seconds=30)
        missing = [value for value in values if not place.told(value)]
        assert arrived, f"{missing} did not arrive\n{running.output()}"
        late = {value: seconds for value in values if (seconds := place.lateness(value)) > PROMPTLY}
        assert not late
        for name in names:
            assert place.logged(name).total() == len(published(name)) // 2
    finally:
        running.stop(seconds=20)
    assert "Traceback" not in running.output(last=100_000)


# ── gunicorn with greenlets ──────────────────────────────────────────────────────────────────────────────────────────


PATCHED = ROOT / "tests" / "fleet" / "publishing" / "patched.py"


@pytest.fixture(
    params=[("quiet_wsgi",), ("wsgi", "--preload", "--config", str(PATCHED))],
    ids=["gevent", "gevent-preload"],
)
def gunicorn(place: Place, request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """Two workers whose threads are greenlets. Nothing is published in them yet, but before they are forked."""
    module, *options = request.param
    made = Gunicorn(place, "--worker-class", "gevent", *options, module=module, first="ready/")
    yield made
    made.stop()


class Browser:
    """Keeps its cookies."""

    def __init__(self, server: Gunicorn) -> None:
        self._server = server
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )

    def ask(self, path: str) -> str:
        with self._opener.open(f"{self._server.address}/{path}", timeout=20) as answer:
            text: str = answer.read().decode()
            return text


def test_gevent_s_workers_publish_and_keep_the_orm(place: Place, gunicorn: Gunicorn) -> None:
    """Many requests at once, the first of them too."""
    values = [f"request-{number}" for number in range(200)]
    with ThreadPoolExecutor(20) as pool:
        processes = set(pool.map(lambda value: gunicorn.ask(f"publish/wsgi/{value}/"), values))

    assert processes
    found = place.logged("wsgi")
    assert {value: found[value] for value in values} == dict.fromkeys(values, 1)
    assert eventually(lambda: all(map(place.told, values)))
    assert "Traceback" not in gunicorn.server.output(last=100_000)


def test_a_logout_in_a_gevent_worker_leaves_the_orm_alone(place: Place, gunicorn: Gunicorn) -> None:
    """Its order to all servers is the first thing that leaves the process."""
    place.run(
        "-c",
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User; User.objects.create_user('ada')",
    )
    with ThreadPoolExecutor(4) as pool:

        def come_and_go(number: int) -> None:
            browser = Browser(gunicorn)
            for _ in range(3):
                assert browser.ask(f"login/?user=ada&client={number}") == "signed in"
                assert browser.ask("logout/") == "signed out"

        list(pool.map(come_and_go, range(12)))

    assert eventually(lambda: b"".join(place.news).count(b"end_session") >= 36)
    assert "Traceback" not in gunicorn.server.output(last=100_000)

"""Publishing from processes that have no event loop: Celery's, WSGI's, commands, with real Redis and PostgreSQL."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .publishing.place import Gunicorn, Place, eventually

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def celery(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A prefork worker, and the application that sends tasks to it."""
    worker = place.start(
        "celery",
        *("-m", "celery", "-A", "tests.fleet.publishing.tasks", "worker"),
        *(
            "--pool",
            "prefork",
            "--concurrency",
            "3",
            "--loglevel",
            "INFO",
            "--without-gossip",
            "--without-mingle",
        ),
    )
    worker.wait_until(lambda: " ready." in worker.output(last=100_000), seconds=60)

    def send(task: str, *arguments: Any) -> None:
        app.send_task(f"tests.fleet.publishing.tasks.{task}", args=arguments)

    from celery import Celery

    with Celery("sender", broker=place.redis.url.replace("/0", "/1"), set_as_current=False) as app:
        yield send
    worker.stop(seconds=30)


def test_celery_s_tasks_publish_each_event_once(place: Place, celery: Callable[..., None]) -> None:
    """Also those of a pool that was forked from a process that had published already."""
    shouted, said, failed = ([f"{kind}-{n}" for n in range(40)] for kind in ("shouted", "said", "failed"))
    for one, two, three in zip(shouted, said, failed, strict=True):
        celery("shout", one)
        celery("say", two)
        celery("say", three, True)

    assert eventually(lambda: len(place.logged("tasks")) >= 81)
    assert place.logged("tasks") == Counter(["parent", *shouted, *said])
    assert eventually(lambda: all(place.told(value) for value in ["parent", *shouted, *said]))
    assert place.ask("SELECT count(*) FROM holdfast_outbox") == [(0,)], "nothing waits for a number"


def test_a_task_whose_process_dies_unacknowledged_is_carried_out_again(
    place: Place, celery: Callable[..., None], tmp_path: Path
) -> None:
    celery("die_once", "survivor", str(tmp_path / "marker"))

    assert eventually(lambda: place.logged("tasks")["survivor"] == 1)
    celery("shout", "after")
    assert eventually(lambda: place.logged("tasks")["after"] == 1)
    assert place.logged("tasks")["survivor"] == 1


@pytest.fixture(params=[(), ("--preload",)], ids=["gunicorn", "preload"])
def gunicorn(place: Place, request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """With `--preload` the workers are forked from a process that has published already."""
    made = Gunicorn(place, *request.param)
    yield made
    made.stop()


@pytest.mark.parametrize(
    "gunicorn",
    [(), ("--preload",), ("--preload", "--threads", "1")],
    ids=["gunicorn", "preload", "preload-sync"],
    indirect=True,
)
def test_gunicorn_s_workers_publish_each_event_once(place: Place, gunicorn: Gunicorn) -> None:
    values: list[str] = []
    processes: set[str] = set()
    with ThreadPoolExecutor(8) as pool:
        while len(processes) < 2 and len(values) < 3000:  # the kernel decides who takes a connection
            more = [f"request-{n}" for n in range(len(values), len(values) + 120)]
            processes.update(pool.map(lambda value: gunicorn.ask(f"publish/wsgi/{value}/"), more))
            values += more

    found = place.logged("wsgi")
    assert len(processes) == 2, "both workers were asked"
    assert {value: found[value] for value in values} == dict.fromkeys(values, 1)
    assert eventually(lambda: all(place.told(value) for value in values))


def test_a_hundred_thousand_publishes_from_gunicorn_leave_nothing_open(
    place: Place, gunicorn: Gunicorn
) -> None:
    def publish(requests: int, count: int) -> dict[str, tuple[int, int]]:
        """Return the largest number of open files and threads of each process."""
        most: dict[str, tuple[int, int]] = {}
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(gunicorn.ask, [f"publish-many/{count}/"] * requests):
                process, files, threads = answer.split()
                before = most.get(process, (0, 0))
                most[process] = max(before[0], int(files)), max(before[1], int(threads))
        return most

    def clients() -> list[dict[str, str]]:
        with place.redis.client() as client:
            return [entry for entry in client.client_list() if entry["name"] == "holdfast"]

    asked = 60
    before = publish(asked, 10)
    while len(before) < 2 and asked < 1000:  # the kernel decides who takes a connection
        before |= publish(20, 10)
        asked += 20
    after = publish(200, 500)
    assert len(before) == len(after) == 2
    for process, early in before.items():
        files, threads = after[process]
        # Eight requests may be under way at once, each with its own connection and one to PostgreSQL. Of the 200 behind
        # them nothing is left.
        assert files <= early[0] + 2 * 8, (before, after)
        assert threads <= early[1] + 4, (before, after)
    # One for each worker, and one of the process that loaded the application.
    open_ones = [(entry["id"], entry["age"], entry["idle"], entry["cmd"]) for entry in clients()]
    assert len(open_ones) <= 3, open_ones
    assert place.logged("many").total() == asked + 200


def signed(notice: dict[str, Any]) -> tuple[bytes, str]:
    body = json.dumps(notice).encode()
    return body, hmac.new(b"and their webhooks with this", body, hashlib.sha256).hexdigest()


def orders_told_of(place: Place) -> Counter[str]:
    return Counter(
        name
        for (name,) in place.ask(
            "SELECT t.name FROM holdfast_entry e JOIN holdfast_topic t ON t.id = e.topic_id"
            " WHERE t.name LIKE 'orders/%%'"
        )
    )


@pytest.mark.parametrize("gunicorn", [()], ids=["gunicorn"], indirect=True)
def test_a_webhook_that_is_delivered_often_publishes_once(place: Place, gunicorn: Gunicorn) -> None:
    """Also when the same delivery is under way in several workers at once."""

    def deliver(order: int) -> int:
        body, signature = signed({"id": f"delivery-{order}", "order": order})
        return gunicorn.status("paid/", body, **{"X-Signature": signature})

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(deliver, [order for order in range(20) for _ in range(4)]))

    assert statuses == {204: 80}
    assert orders_told_of(place) == Counter({f"orders/{order}": 1 for order in range(20)})


@pytest.mark.parametrize("gunicorn", [()], ids=["gunicorn"], indirect=True)
def test_a_webhook_that_was_not_signed_with_the_secret_is_refused(place: Place, gunicorn: Gunicorn) -> None:
    body, right = signed({"id": "forged", "order": 1})
    other, _ = signed({"id": "forged", "order": 2})
    for sent, signature in [
        (other, right),
        (body, right[:-1]),
        (body, ""),
        (body, "\xe9"),
        (body, right.upper()),
    ]:
        assert gunicorn.status("paid/", sent, **{"X-Signature": signature}) == 403
    assert gunicorn.status("paid/", body) == 403
    assert not orders_told_of(place)


@pytest.mark.parametrize("gunicorn", [()], ids=["gunicorn"], indirect=True)
def test_a_webhook_that_failed_counts_as_not_delivered(place: Place, gunicorn: Gunicorn) -> None:
    body, signature = signed({"id": "again"})  # without an order: an error after the delivery was noted
    assert gunicorn.status("paid/", body, **{"X-Signature": signature}) == 500
    body, signature = signed({"id": "again", "order": 5})
    assert gunicorn.status("paid/", body, **{"X-Signature": signature}) == 204
    assert orders_told_of(place) == Counter({"orders/5": 1})


def test_the_page_shows_the_webhook_that_is_tested() -> None:
    tested = (ROOT / "tests" / "fleet" / "project" / "webhooks.py").read_text()
    for annotation in (": HttpRequest", " -> HttpResponse"):
        tested = tested.replace(annotation, "")
    page = (ROOT / "docs" / "how-to" / "publish-from-elsewhere.md").read_text()
    (shown,) = re.findall(r"^```python\n(@csrf_exempt\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert shown in tested


def test_a_command_that_publishes_and_ends_has_sent_its_events(place: Place) -> None:
    for number in range(3):
        place.run("-m", "tests.fleet.publishing.workers", "command", f"cron-{number}")

    assert place.logged("cron") == Counter([f"cron-{n}" for n in range(3)])
    # Both ways: the durable event, which a comparison would repair, and the passing one, which nothing would.
    assert eventually(
        lambda: sum(json.dumps(f"cron-{n}").encode() in m for n in range(3) for m in place.news) >= 6, 10
    )


def test_a_hundred_thousand_publishes_leave_nothing_open(place: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fleet.publishing.workers", "many", "100000", "2000", "8"],
        env=place.environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def look() -> tuple[int, int, int, int]:
        files, threads = map(int, process.stdout.readline().split())  # type: ignore[union-attr]
        with place.redis.client() as client:
            clients = sum(entry["name"] == "holdfast" for entry in client.client_list())
        [(sessions,)] = place.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", place.name
        )
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return files, threads, clients, sessions

    try:
        before, after = look(), look()
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()

    assert before[2] >= 1
    assert all(late <= early + 1 for early, late in zip(before, after, strict=True)), (before, after)
    [(stored,)] = place.ask("SELECT head FROM holdfast_topic WHERE name = 'rooms/many'")
    assert stored >= 2000

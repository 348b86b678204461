"""The retry queue: entries that the log did not take are retried, and dropped only with a log message."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.control.retry_queue import AT_ONCE, RetryQueue
from holdfast.log.base import Draft, LogUnavailable
from tests.support.hubs import draft

ROOT = Path(__file__).parents[2]


class Store:
    """A log that can refuse to answer."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.sizes: list[int] = []
        self.error: Exception | None = LogUnavailable("away")
        self.tried = threading.Event()
        self.took = threading.Event()

    def write(self, drafts: Sequence[Draft]) -> None:
        self.tried.set()
        if self.error is not None:
            raise self.error
        self.sizes.append(len(drafts))
        self.written += [draft.payload.decode() for draft in drafts]
        self.took.set()


class Still:
    """A retry queue with a clock that stands still, and without a thread."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.started: list[Callable[[], None]] = []
        self.store = Store()
        self.queue = RetryQueue(
            self.store.write,
            seconds=60.0,
            clock=lambda: self.now,
            start=options.pop("start", self.started.append),
            **options,
        )

    def keep(self, *numbers: int) -> None:
        self.queue.keep([draft(number) for number in numbers])


@contextmanager
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.clear()
    found: list[str] = []
    yield found
    found += [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# ── one attempt after another ────────────────────────────────────────────────────────────────────────────────────────


def test_entries_are_retried_in_order_until_the_log_takes_them_and_written_once() -> None:
    still = Still()
    still.keep(1, 2)
    assert not still.queue.attempt()
    still.keep(3)
    still.now += 59
    assert not still.queue.attempt()
    still.store.error = None
    assert still.queue.attempt()
    assert still.queue.attempt()
    assert still.store.written == ["1", "2", "3"]


def test_an_entry_that_waited_too_long_is_dropped_and_named(caplog: pytest.LogCaptureFixture) -> None:
    still = Still()
    still.keep(1)
    still.now += 30
    still.keep(2)
    still.now += 31
    with errors(caplog) as said:
        assert not still.queue.attempt()
    assert said == [
        "control commands that the log did not take are lost (1), because the log has not taken them for 60 seconds: 1"
    ]
    still.store.error = None
    assert still.queue.attempt()
    assert still.store.written == ["2"]


def test_of_too_many_entries_the_oldest_are_dropped_and_named(caplog: pytest.LogCaptureFixture) -> None:
    still = Still(most=3)
    still.keep(1, 2)
    with errors(caplog) as said:
        still.keep(3, 4, 5)
    assert len(said) == 1
    assert "more than 3 wait" in said[0]
    assert said[0].endswith(": 1; 2")
    still.store.error = None
    still.queue.attempt()
    assert still.store.written == ["3", "4", "5"]


def test_an_error_message_does_not_grow_with_the_number_of_lost_entries(
    caplog: pytest.LogCaptureFixture,
) -> None:
    still = Still(most=1)
    with errors(caplog) as said:
        still.keep(*range(1001))
    assert "lost (1000)" in said[0]
    assert said[0].endswith("; 19 and 980 more")


def test_many_entries_are_written_in_transactions_of_a_bounded_size() -> None:
    still = Still()
    still.keep(*range(2 * AT_ONCE + 1))
    still.store.error = None
    assert still.queue.attempt()
    assert still.store.sizes == [AT_ONCE, AT_ONCE, 1]
    assert still.store.written == [str(number) for number in range(2 * AT_ONCE + 1)]


def test_an_error_that_is_not_the_logs_loses_nothing_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    still = Still()
    still.keep(1)
    still.store.error = ZeroDivisionError()
    with errors(caplog) as said:
        for _ in range(3):
            assert not still.queue.attempt()
    assert len(said) == 1
    still.store.error = None
    still.queue.attempt()
    assert still.store.written == ["1"]


def test_forgotten_entries_are_not_written() -> None:
    still = Still()
    still.keep(1)
    still.queue.forget()
    still.store.error = None
    assert still.queue.attempt()
    assert still.store.written == []


def test_forgetting_waits_for_the_write_that_is_under_way() -> None:
    writing, go_on, steps = threading.Event(), threading.Event(), list[str]()

    def write(drafts: Sequence[Draft]) -> None:
        writing.set()
        go_on.wait(10)
        steps.append("written")

    queue = RetryQueue(write, seconds=60.0, start=lambda run: None)
    queue.keep([draft(1)])
    attempt = threading.Thread(target=queue.attempt)
    attempt.start()
    assert writing.wait(10)
    threading.Timer(0.05, go_on.set).start()
    queue.forget(10)
    steps.append("forgotten")
    attempt.join(10)
    assert steps == ["written", "forgotten"]


def test_an_interpreter_that_starts_no_thread_any_more_logs_the_lost_entries(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(run: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    still = Still(start=refuse)
    with errors(caplog) as said:
        still.keep(1)
    assert "this process is ending" in said[0]
    assert len(still.queue) == 0


# ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────────


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "holdfast-retry"]


def test_a_thread_retries_and_ends_when_the_queue_is_empty() -> None:
    store = Store()
    postponed = RetryQueue(store.write, seconds=60.0)
    for number in (1, 2):  # twice, as the second needs a thread of its own
        store.error = LogUnavailable("away")
        store.tried.clear()
        store.took.clear()
        postponed.keep([draft(number)])
        assert store.tried.wait(10)
        running = threads()
        store.error = None
        assert store.took.wait(10)
        for thread in running:
            thread.join(10)
        assert threads() == []
    assert store.written == ["1", "2"]


def test_the_end_of_the_process_waits_for_the_log_within_its_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    postponed = RetryQueue(store.write, seconds=60.0)
    postponed.keep([draft(1)])
    with errors(caplog) as said:
        assert not postponed.flush(0.1)
    assert said == [
        "control commands that the log did not take are lost (1), because this process is ending: 1"
    ]
    store.error = None
    with errors(caplog) as said:
        assert postponed.flush(20)
    assert (store.written, said) == (["1"], [])


# ── whole processes, whose database is really away ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["waits", "exits", "forks", "multiprocessing", "forked-worker"])
def test_a_process_hands_over_its_queue_once(how: str, tmp_path: Path) -> None:
    assert run(how, tmp_path) == EXPECTED[how]


EXPECTED = {
    "waits": ["user:1"],
    "exits": ["user:1"],
    "forks": ["user:1"],
    "multiprocessing": ["user:1", "user:2"],
    "forked-worker": ["user:1", "user:2"],
}


def run(how: str, directory: Path) -> list[str]:
    """The owners of the commands that are in the log afterwards."""
    ended = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-m",
            "tests.control.retrying",
            how,
            str(directory),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[str] = json.loads(ended.stdout)
    return found

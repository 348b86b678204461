"""What the log did not take is kept, tried again, and given up only with a word."""

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
    """Where things are written to, if it answers."""

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
    """With a clock that stands, and no thread."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.started: list[Callable[[], None]] = []
        self.store = Store()
        self.postponed = RetryQueue(
            self.store.write,
            seconds=60.0,
            clock=lambda: self.now,
            start=options.pop("start", self.started.append),
            **options,
        )

    def keep(self, *numbers: int) -> None:
        self.postponed.keep([draft(number) for number in numbers])


@contextmanager
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.clear()
    found: list[str] = []
    yield found
    found += [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# ── one attempt after another ────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_tried_until_the_log_takes_it_in_order_and_written_once() -> None:
    still = Still()
    still.keep(1, 2)
    assert not still.postponed.attempt()
    still.keep(3)
    still.now += 59
    assert not still.postponed.attempt()
    still.store.error = None
    assert still.postponed.attempt()
    assert still.postponed.attempt()
    assert still.store.written == ["1", "2", "3"]


def test_what_waited_for_too_long_is_given_up_and_named(caplog: pytest.LogCaptureFixture) -> None:
    still = Still()
    still.keep(1)
    still.now += 30
    still.keep(2)
    still.now += 31
    with errors(caplog) as said:
        assert not still.postponed.attempt()
    assert said == [
        "control commands that the log did not take are lost (1), because the log has not taken them for 60 seconds: 1"
    ]
    still.store.error = None
    assert still.postponed.attempt()
    assert still.store.written == ["2"]


def test_of_too_many_the_oldest_are_given_up_and_named(caplog: pytest.LogCaptureFixture) -> None:
    still = Still(most=3)
    still.keep(1, 2)
    with errors(caplog) as said:
        still.keep(3, 4, 5)
    assert len(said) == 1
    assert "more than 3 wait" in said[0]
    assert said[0].endswith(": 1; 2")
    still.store.error = None
    still.postponed.attempt()
    assert still.store.written == ["3", "4", "5"]


def test_an_error_does_not_grow_with_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    still = Still(most=1)
    with errors(caplog) as said:
        still.keep(*range(1001))
    assert "lost (1000)" in said[0]
    assert said[0].endswith("; 19 and 980 more")


def test_many_are_written_in_transactions_of_a_bounded_size() -> None:
    still = Still()
    still.keep(*range(2 * AT_ONCE + 1))
    still.store.error = None
    assert still.postponed.attempt()
    assert still.store.sizes == [AT_ONCE, AT_ONCE, 1]
    assert still.store.written == [str(number) for number in range(2 * AT_ONCE + 1)]


def test_an_error_that_is_not_the_logs_loses_nothing_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    still = Still()
    still.keep(1)
    still.store.error = ZeroDivisionError()
    with errors(caplog) as said:
        for _ in range(3):
            assert not still.postponed.attempt()
    assert len(said) == 1
    still.store.error = None
    still.postponed.attempt()
    assert still.store.written == ["1"]


def test_what_is_forgotten_is_not_written() -> None:
    still = Still()
    still.keep(1)
    still.postponed.forget()
    still.store.error = None
    assert still.postponed.attempt()
    assert still.store.written == []


def test_an_interpreter_that_starts_no_thread_any_more_says_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(run: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    still = Still(start=refuse)
    with errors(caplog) as said:
        still.keep(1)
    assert "this process is ending" in said[0]
    assert len(still.postponed) == 0


# ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────────


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "holdfast-retry"]


def test_a_thread_tries_again_by_itself_and_ends_when_nothing_is_left() -> None:
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


def test_the_end_of_the_process_waits_for_the_log_and_not_for_longer_than_it_may(
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
def test_a_process_hands_over_what_it_kept_once(how: str, tmp_path: Path) -> None:
    assert run(how, tmp_path) == EXPECTED[how]


EXPECTED = {
    "waits": ["user:1"],
    "exits": ["user:1"],
    "forks": ["user:1"],
    "multiprocessing": ["user:1", "user:2"],
    "forked-worker": ["user:1", "user:2"],
}


def run(how: str, directory: Path) -> list[str]:
    """Whom the orders are about that are in the log afterwards."""
    ended = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-m",
            "tests.control.postponing",
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

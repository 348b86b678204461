"""The limited log: messages that clients cause are logged at a bounded rate, and dropped ones are counted."""

import logging

import pytest

from holdfast.process import limited_log
from holdfast.process.limited_log import LogLimit, log_limited, place_of

logger = logging.getLogger("holdfast.tests")


@pytest.fixture(autouse=True)
def limit(every_message: None, monkeypatch: pytest.MonkeyPatch) -> LogLimit:
    """A limit for this test alone."""
    made = LogLimit()
    monkeypatch.setattr(limited_log, "_limit", made)
    return made


def divided(number: int) -> Exception:
    try:
        return Exception(number / 0)
    except ZeroDivisionError as error:
        return error


def test_the_same_error_is_logged_once_a_second_and_then_with_its_count() -> None:
    limit = LogLimit()
    assert [limit.admit("kind", now / 10) for now in range(11)] == [0, *[None] * 9, 9]
    assert limit.admit("kind", 1.5) is None
    assert limit.admit("kind", 5.0) == 1
    assert limit.admit("other", 5.0) == 0


def test_a_flood_of_one_error_writes_one_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(limited_log.time, "monotonic", lambda: now)
    for number in range(100):
        error = divided(number)
        log_limited(logger, logging.ERROR, place_of(error), "call %d failed", number, error=error)
    now += 1
    log_limited(logger, logging.ERROR, place_of(divided(1)), "call %d failed", 100)
    assert caplog.messages == [
        "call 0 failed",
        "call 100 failed (99 more like it since the last one were not logged)",
    ]
    assert caplog.records[0].exc_info
    assert caplog.records[0].filename == "test_limited_log.py"


def test_errors_of_other_places_types_and_loggers_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("x")
    except ValueError as error:
        other: Exception = error
    log_limited(logger, logging.ERROR, place_of(divided(1)), "a")
    log_limited(logger, logging.ERROR, place_of(other), "b")
    log_limited(logging.getLogger("holdfast.more"), logging.ERROR, place_of(other), "c")
    assert caplog.messages == ["a", "b", "c"]


def test_kinds_that_clients_make_up_fill_neither_the_log_nor_the_memory() -> None:
    limit = LogLimit(remembered=10, at_once=20, new_seconds=6.0)
    admitted = [limit.admit(number, 0.0) for number in range(10_000)]
    assert admitted == [0] * 20 + [None] * 9_980
    assert limit.admit("later", 5.9) is None
    assert limit.admit("later", 6.0) == 0
    assert limit.admit("much later", 1000.0) == 0
    assert len(limit.kinds) == 10

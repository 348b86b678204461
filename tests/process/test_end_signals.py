"""Signals that end a process are noticed first, and reach the server's own handlers."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.process.end_signals import EndSignals


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that the server has handled. It handles SIGTERM only."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


async def test_a_signal_is_noticed_and_handled(handled: list[int]) -> None:
    noticed = asyncio.Event()
    signals = EndSignals(asyncio.get_running_loop(), noticed.set)
    signals.follow()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(noticed.wait(), 5)
    assert handled == [signal.SIGTERM]

    signals.leave()
    noticed.clear()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)
    assert handled == [signal.SIGTERM] * 2
    assert not noticed.is_set()


async def test_a_handler_of_the_event_loop_is_still_called(handled: list[int]) -> None:
    loop, own, noticed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, own.set)
    signals = EndSignals(loop, noticed.set)
    signals.follow()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(own.wait(), 5)
    await asyncio.wait_for(noticed.wait(), 5)
    signals.leave()
    loop.remove_signal_handler(signal.SIGTERM)


def test_a_signal_after_the_end_of_the_loop_is_handled(handled: list[int]) -> None:
    loop = asyncio.new_event_loop()
    signals = EndSignals(loop, lambda: None)
    signals.follow()
    loop.close()
    os.kill(os.getpid(), signal.SIGTERM)
    assert handled == [signal.SIGTERM]
    signals.leave()


def test_signals_without_a_handler_and_later_handlers_stay(handled: list[int]) -> None:
    loop = asyncio.new_event_loop()
    interrupt = signal.getsignal(signal.SIGINT)
    signals = EndSignals(loop, lambda: None)
    signals.follow()
    assert signal.getsignal(signal.SIGINT) is interrupt

    def later(number: int, frame: Any) -> None: ...

    signal.signal(signal.SIGTERM, later)
    signals.leave()
    assert signal.getsignal(signal.SIGTERM) is later
    loop.close()


def test_other_threads_change_no_handler(handled: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=EndSignals(loop, lambda: None).follow)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    loop.close()

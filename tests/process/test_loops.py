"""Calls from any thread onto one event loop."""

import asyncio
import threading

import pytest

from holdfast.process.loops import call_on, call_soon_on, running_loop


async def test_on_the_loop_the_call_is_made_at_once() -> None:
    called: list[int] = []
    assert call_on(asyncio.get_running_loop(), called.append, 1)
    assert called == [1]


async def test_calls_from_a_thread_are_made_on_the_loop_in_their_order() -> None:
    loop = asyncio.get_running_loop()
    calls: list[tuple[int, int]] = []
    done = asyncio.Event()

    def note(number: int) -> None:
        calls.append((number, threading.get_ident()))
        if number == 99:
            done.set()

    def call_them() -> None:
        for number in range(100):
            assert call_on(loop, note, number)

    await loop.run_in_executor(None, call_them)
    await done.wait()
    assert calls == [(number, threading.get_ident()) for number in range(100)]


async def test_an_error_of_a_call_made_now_reaches_the_caller() -> None:
    def fail() -> None:
        raise RuntimeError("of the callback")

    with pytest.raises(RuntimeError, match="of the callback"):
        call_on(asyncio.get_running_loop(), fail)


def test_a_closed_loop_gets_no_call() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    called: list[int] = []
    assert not call_on(loop, called.append, 1)
    assert called == []


async def test_the_running_loop_is_that_of_the_thread() -> None:
    loop = asyncio.get_running_loop()
    assert running_loop() is loop
    assert await loop.run_in_executor(None, running_loop) is None


async def test_a_call_soon_waits_for_the_next_turn_also_on_its_own_loop() -> None:
    called: list[int] = []
    assert call_soon_on(asyncio.get_running_loop(), called.append, 1)
    assert called == []
    await asyncio.sleep(0)
    assert called == [1]

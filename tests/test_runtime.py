"""The parts of a process, over several event loops, and its threads."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import runtime as runtimes
from holdfast.backplane.memory import MemoryBackplane
from holdfast.log.memory import MemoryLog
from holdfast.runtime import Runtime
from holdfast.threads.threads import Inline, Threads
from tests.services.databases import in_threads
from tests.support.clock import in_jumping_time
from tests.support.hubs import TOPIC, Listener, draft, join


def make() -> Runtime:
    return Runtime(log=MemoryLog(), backplane=MemoryBackplane(), threads=Threads(2), log_threads=Inline())


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = make()
    yield made
    made.threads.close()


async def hear(runtime: Runtime) -> Listener:
    hub, listener = await runtime.hub(), Listener()
    await join(hub, listener, TOPIC, durable=True)
    await runtime.publisher.apublish([draft(1)], durable=True)
    assert listener.heard
    return listener


def test_loops_one_after_another_each_have_a_hub(runtime: Runtime) -> None:
    for _ in range(3):
        assert in_jumping_time(hear)(runtime).heard == ["1"]


def test_a_loop_that_was_not_stopped_does_not_disturb_the_next(runtime: Runtime) -> None:
    in_jumping_time(hear)(runtime)

    @in_jumping_time
    async def stop() -> None:
        await runtime.stop()
        assert (await hear(runtime)).heard == ["1"]
        await runtime.stop()

    stop()


@in_jumping_time
async def test_a_runtime_that_never_started_can_be_stopped() -> None:
    await make().stop()


@in_jumping_time
async def test_all_who_ask_at_once_get_one_hub() -> None:
    runtime = make()
    hubs = await asyncio.gather(*[runtime.hub() for _ in range(10)])
    assert len(set(map(id, hubs))) == 1
    await runtime.stop()


@in_jumping_time
async def test_a_hub_that_could_not_start_is_tried_again() -> None:
    runtime = make()
    start, failures = runtime.backplane.start, [ConnectionError("not yet")]

    async def moody(*args: Any) -> None:
        if failures:
            raise failures.pop()
        await start(*args)

    runtime.backplane.start = moody  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await runtime.hub()
    assert (await hear(runtime)).heard == ["1"]
    await runtime.stop()


@in_jumping_time
async def test_stopping_waits_for_a_hub_that_is_just_starting() -> None:
    runtime = make()
    starting = asyncio.ensure_future(runtime.hub())
    await asyncio.sleep(0)
    await runtime.stop()
    await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_without_setup_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_current", None)
    monkeypatch.setattr(runtimes, "_build", None)
    with pytest.raises(RuntimeError, match="INSTALLED_APPS"):
        runtimes.current()


def test_threads_that_are_the_first_to_need_it_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first requests of a worker with threads: each runtime would have connections of its own."""
    made: list[Runtime] = []

    def build() -> Runtime:
        time.sleep(0.05)  # long enough for all of them to ask
        made.append(make())
        return made[-1]

    monkeypatch.setattr(runtimes, "_current", None)
    monkeypatch.setattr(runtimes, "_build", build)
    found = in_threads([runtimes.current] * 8)
    assert len(made) == 1
    assert found == made * 8


def test_a_forked_child_builds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_build", make)
    with runtimes.using(make()) as ours:
        assert runtimes.current() is ours
        child = os.fork()
        if not child:
            os._exit(0 if runtimes.current() is not ours else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert runtimes.current() is ours


# ── threads ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_work_runs_with_the_callers_context() -> None:
    from contextvars import ContextVar

    language: ContextVar[str] = ContextVar("language")
    language.set("de")
    threads = Threads(1)
    assert await threads.run(language.get) == "de"
    threads.close()


async def test_closed_threads_can_be_used_again() -> None:
    threads = Threads(2)
    assert await threads.run(int, "1") == 1
    threads.close()
    threads.close()
    assert await threads.run(int, "2") == 2
    threads.close()

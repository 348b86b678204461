"""The context that a handler starts in, whatever ran before it in its thread, its task or on its connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings
from django.urls import get_script_prefix
from django.utils import timezone, translation

from holdfast import HandlerInfo, Topic, action
from holdfast.threads.threads import Threads
from tests.support.connected import User, fleet

tenant: ContextVar[str] = ContextVar("tenant", default="none")

NOTHING = HandlerInfo()


def state() -> list[str]:
    return [translation.get_language(), timezone.get_current_timezone_name(), tenant.get()]


def activate() -> None:
    translation.activate("fr")
    timezone.activate("Asia/Tokyo")
    tenant.set("acme")


class Room(Topic):
    route = "rooms/<int:room>"

    def may_join(self, user: Any) -> bool:
        seen.append(("may_join", state()))
        activate()
        return True

    def snapshot(self) -> list[str]:
        seen.append(("snapshot", state()))
        activate()
        return []

    @action
    def look(self, caller: Any) -> list[str]:
        before = state()
        activate()
        return before

    @action
    async def look_on_the_loop(self, caller: Any) -> list[list[str]]:
        before = state()
        activate()
        return [before, await sync_to_async(state)()]


class Lobby(Room):
    route = "lobbies/<int:room>"

    async def may_join(self, user: Any) -> bool:
        seen.append(("may_join", state()))
        activate()
        return True

    async def snapshot(self) -> list[str]:
        seen.append(("snapshot", state()))
        return []


seen: list[tuple[str, list[str]]] = []


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    seen.clear()
    yield
    translation.deactivate()
    timezone.deactivate()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("topic", ["rooms/1", "lobbies/1"])
async def test_handlers_start_from_the_settings_whatever_earlier_ones_or_the_handshake_activated(
    topic: str,
) -> None:
    settings = ["en-us", "America/Chicago", "none"]
    async with fleet(Room, Lobby) as here:
        activate()  # as a middleware around the handshake may have
        socket = await here.processes[0].connect(User(1))
        frames: list[Any] = []
        for name in ("", "look", "look_on_the_loop", "look", "look_on_the_loop"):
            if name:
                socket.ask(topic, name)
            else:
                socket.ask_to_join(topic)
            async with asyncio.timeout(10):
                while not (heard := await socket.hear()):  # noqa: ASYNC110 - see below
                    await asyncio.sleep(0.01)  # for worker threads, which set no event
            frames += heard
    assert [place for place, _ in seen] == ["may_join", "snapshot"]
    assert all(found == settings for _, found in seen), seen
    _, look, on_the_loop, look_again, on_the_loop_again = [frame.get("payload") for frame in frames]
    assert look == look_again == settings
    assert on_the_loop == on_the_loop_again == [settings, ["fr", "Asia/Tokyo", "acme"]]


async def test_work_sees_the_language_of_the_code_that_awaits_it() -> None:
    threads = Threads(1)
    activate()
    assert await threads.run(state) == ["fr", "Asia/Tokyo", "acme"]
    threads.close()


async def test_threads_that_keep_their_context_do_not_keep_a_language() -> None:
    threads = Threads(1, keep_connections=True)
    await threads.handle(NOTHING, activate)
    assert (await threads.handle(NOTHING, state))[:2] == ["en-us", "America/Chicago"]
    threads.close()


async def test_urls_begin_with_the_script_name() -> None:
    threads = Threads(1)
    with override_settings(FORCE_SCRIPT_NAME="/shop"):
        assert await threads.handle(NOTHING, get_script_prefix) == "/shop/"
    threads.close()


# ── the project's context manager ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def named_after_host(info: HandlerInfo) -> Iterator[None]:
    entered.append(("in", info.host))
    before = tenant.get()
    tenant.set(str(info.host))
    try:
        yield
    except ArithmeticError:
        entered.append(("error", info.host))
        raise
    finally:
        tenant.set(before)
        entered.append(("out", info.host))


entered: list[tuple[str, str | None]] = []


async def handled(threads: Threads, info: HandlerInfo, mode: str, work: Any) -> Any:
    if mode == "def":
        return await threads.handle(info, work)

    async def on_the_loop() -> Any:
        return [await sync_to_async(work)(), work()][0]

    handling = threads.handle_async(info, on_the_loop)
    return await asyncio.get_running_loop().create_task(handling, context=threads.context())


@pytest.mark.parametrize("mode", ["def", "async def"])
async def test_each_handler_runs_in_the_projects_context_manager(mode: str) -> None:
    entered.clear()
    threads = Threads(1, around=named_after_host)
    for host in ("acme.example.com", "emca.example.com"):
        assert await handled(threads, HandlerInfo(host=host), mode, tenant.get) == host
    with pytest.raises(ZeroDivisionError):
        await handled(threads, NOTHING, mode, lambda: 1 / 0)
    threads.close()
    assert entered == [
        ("in", "acme.example.com"),
        ("out", "acme.example.com"),
        ("in", "emca.example.com"),
        ("out", "emca.example.com"),
        ("in", None),
        ("error", None),
        ("out", None),
    ]


async def test_of_many_handlers_in_one_visit_each_has_its_own_context() -> None:
    threads = Threads(1, around=named_after_host)

    def one() -> list[str]:
        found = state()
        activate()
        return found

    def two() -> list[str]:
        raise LookupError

    infos = [HandlerInfo(host=host) for host in ("a", "b", "c")]
    found = await threads.handle_many(list(zip(infos, (one, two, one), strict=True)))
    threads.close()
    assert found[0] == ["en-us", "America/Chicago", "a"]
    assert isinstance(found[1], LookupError)
    assert found[2] == ["en-us", "America/Chicago", "c"]

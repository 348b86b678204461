"""A user who was evicted, disconnected or signed out gets no further event, on any server, in any interleaving."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

import holdfast
from holdfast import Event, Keep, Slow, Topic, action
from holdfast import runtime as runtimes
from holdfast.auth.base import AuthRequest, Identity
from holdfast.connections.revocation import fingerprint
from holdfast.control.commands import TOPIC, Disconnect, EndSession, Evict
from holdfast.log.base import LogUnavailable
from holdfast.log.memory import MemoryLog
from holdfast.protocol import codes
from holdfast.topics.access import owner_of
from tests.services.databases import in_thread
from tests.support.clock import in_jumping_time, turns
from tests.support.connected import Fleet, Process, Socket, User, fleet, identity_of


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()

    room: str
    banned: set[int] = set()
    asked: list[Any] = []
    gate: "asyncio.Event | None" = None
    done: list[int] = []

    async def may_join(self, user: Any) -> bool:
        Room.asked.append(user)
        if self.room == "broken" and 0 in Room.banned:
            raise ZeroDivisionError
        admitted = getattr(user, "pk", None) not in Room.banned
        if self.room == "slow" and Room.gate is not None:
            await Room.gate.wait()
        return admitted

    @action
    def work(self, caller: Any, n: int) -> int:
        Room.done.append(n)
        return n

    @action
    async def wait(self, caller: Any) -> str:
        assert Room.gate is not None
        await Room.gate.wait()
        return "done"


class Board(Topic):
    """A topic whose snapshot can take some time."""

    route = "boards/<int:board>"
    events = [Said]
    slow = Slow.drop()

    def may_join(self, user: Any) -> bool:
        return getattr(user, "pk", None) not in Room.banned

    async def snapshot(self) -> list[int]:
        if Room.gate is not None:
            await Room.gate.wait()
        return [1]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    Room.gate = None
    for kept in (Room.banned, Room.asked, Room.done):
        kept.clear()


LOBBY = Room(room="lobby")


async def said(n: int, topic: Topic = LOBBY) -> None:
    await topic.apublish(Said(n))


def left(frame: dict[str, Any]) -> str | None:
    return frame["payload"]["code"] if frame["type"] == "left" else None


async def offsets(socket: Socket) -> list[int]:
    return [frame["offset"] for frame in await socket.hear() if frame["type"] == "event"]


async def in_rooms(here: Fleet, *, server: int = 0, pk: int = 1, topic: str = "rooms/lobby") -> Socket:
    socket = await here.processes[server].connect(User(pk))
    answer = await socket.join(topic)
    assert answer["type"] == "joined", answer
    return socket


# ── evictions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_an_evicted_user_gets_a_left_and_no_further_event_on_any_server() -> None:
    async with fleet(Room, count=2) as here:
        mine = [await in_rooms(here, server=server) for server in (0, 1, 1)]
        others = [await in_rooms(here, server=server, pk=2) for server in (0, 1)]
        await LOBBY.aevict(User(1), reason="spam")
        await said(1)
        for socket in mine:
            (frame,) = await socket.hear()
            assert frame["type"] == "left"
            assert frame["topic"] == "rooms/lobby"
            assert frame["payload"] == {
                "code": "evicted",
                "message": codes.EVICTED.message,
                "reason": "spam",
            }
        for socket in others:
            assert await offsets(socket) == [1]


@in_jumping_time
async def test_evict_has_evicted_in_this_process_when_it_returns() -> None:
    async with fleet(Room) as here:
        socket = await in_rooms(here)
        hub = await here.processes[0].runtime.hub()
        here.log.append([_command_about_another_user()])  # a gap, which this process has yet to hear of
        here.processes[0].log_threads.hold("read")
        await LOBBY.aevict(1)
        assert [left(frame) for frame in socket.frames] == ["evicted"]
        here.processes[0].log_threads.let_go("read")
        await asyncio.sleep(5)
        assert hub._streams[TOPIC].offset == 2


def _command_about_another_user() -> Any:
    from holdfast.control.commands import draft_of

    return draft_of(EndSession(owner="user:9", session="none"))


@in_jumping_time
async def test_an_eviction_leaves_other_topics_and_other_users_alone() -> None:
    async with fleet(Room, count=2) as here:
        socket = await in_rooms(here)
        await socket.join("rooms/other")
        await LOBBY.aevict(1)
        assert await socket.types() == ["left"]
        await said(1, Room(room="other"))
        assert await socket.types() == ["event"]
        assert socket.closed is None


@in_jumping_time
async def test_an_evicted_user_may_join_again_if_the_rule_admits_them() -> None:
    async with fleet(Room, count=2) as here:
        socket = await in_rooms(here, server=1)
        await LOBBY.aevict(1)
        assert await socket.types() == ["left"]
        assert (await socket.join("rooms/lobby", 2))["type"] == "joined"
        await asyncio.sleep(30)
        await said(1)
        assert await socket.types() == ["event"]


@in_jumping_time
async def test_a_revocation_is_applied_once_in_the_process_that_sends_it() -> None:
    async with fleet(Room) as here:
        socket = await in_rooms(here)
        here.log.append([_command_about_another_user()])
        here.processes[0].log_threads.hold("read")
        await LOBBY.aevict(1)
        await socket.hear()
        await socket.join("rooms/lobby", 2)
        here.processes[0].log_threads.let_go("read")
        await asyncio.sleep(5)  # the order comes by the log as well
        await said(1)
        assert await socket.types() == ["event"]


@in_jumping_time
async def test_one_revocation_evicts_several_users_or_all_users() -> None:
    async with fleet(Room, count=2) as here:
        sockets = {pk: await in_rooms(here, server=pk % 2, pk=pk) for pk in range(1, 5)}
        await LOBBY.aevict(User(1), 2)
        assert [await sockets[pk].types() for pk in (1, 2, 3, 4)] == [["left"], ["left"], [], []]
        await LOBBY.aevict_all(reason="closed")
        assert [await sockets[pk].types() for pk in (1, 2, 3, 4)] == [[], [], ["left"], ["left"]]
        assert here.log.heads([TOPIC])[TOPIC].offset == 2


@in_jumping_time
async def test_an_anonymous_client_is_evicted_by_its_caller() -> None:
    async with fleet(Room, count=2) as here:
        anonymous = await here.processes[1].connect(client="tab-1")
        another = await here.processes[1].connect(client="tab-2")
        impostor = await here.processes[1].connect(User(5), client="tab-1")
        for socket in (anonymous, another, impostor):
            await socket.join("rooms/lobby")
        await LOBBY.aevict(anonymous.connection.caller)
        assert [await socket.types() for socket in (anonymous, another, impostor)] == [["left"], [], []]


@pytest.mark.parametrize("user", [None, "", True])
def test_an_anonymous_user_without_a_caller_cannot_be_evicted(user: Any) -> None:
    with pytest.raises(TypeError, match="does not stand for one user"):
        owner_of("Room.evict", user)


@in_jumping_time
async def test_an_eviction_without_a_user_says_what_to_write() -> None:
    async with fleet(Room):
        with pytest.raises(TypeError, match="evict_all"):
            LOBBY.evict()


# ── those who are just coming in ─────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_join_that_was_admitted_before_the_eviction_asks_the_rule_again() -> None:
    async with fleet(Board, count=2) as here:
        Room.gate = asyncio.Event()
        socket = await here.processes[1].connect(User(1))
        socket.say(type="join", ref=1, topic="boards/1")
        await wait_for(lambda: "boards/1" in here.processes[1].runtime._hub._streams)  # type: ignore[union-attr]
        await turns()
        Room.banned.add(1)
        await Board(board=1).aevict(1)
        await turns()
        Room.gate.set()
        await wait_for(lambda: bool(socket.frames))
        (answer,) = await socket.hear()
        assert (answer["type"], answer["payload"]["code"]) == ("error", "forbidden")


@in_jumping_time
async def test_a_join_that_asks_the_rule_again_succeeds_if_the_rule_still_admits() -> None:
    async with fleet(Room, Board, count=2) as here:
        Room.gate = asyncio.Event()
        socket = await here.processes[1].connect(User(1))
        socket.say(type="join", ref=1, topic="boards/1")
        await wait_for(lambda: "boards/1" in here.processes[1].runtime._hub._streams)  # type: ignore[union-attr]
        await Board.arecheck()
        await turns()
        Room.gate.set()
        await wait_for(lambda: bool(socket.frames))
        assert await socket.types() == ["joined"]


@in_jumping_time
async def test_an_eviction_from_another_topic_does_not_delay_joins() -> None:
    async with fleet(Room) as here:
        here.processes[0].log_threads.hold("heads")
        socket = await here.processes[0].connect(User(1))
        socket.say(type="join", ref=1, topic="rooms/lobby")
        await turns()
        await LOBBY.aevict(2)
        await Room(room="other").aevict(1)
        here.processes[0].log_threads.let_go("heads")
        assert await socket.types() == ["joined"]
        assert len(Room.asked) == 1


@in_jumping_time
async def test_a_connection_authenticated_before_the_logout_joins_nothing_after_it() -> None:
    async with fleet(Room, count=2) as here:
        here.ended.add("s1")
        await runtimes.current().control.aissue(EndSession(owner="user:1", session=fingerprint("s1")))
        await asyncio.sleep(20)  # a slow handshake
        hub = await here.processes[1].runtime.hub()
        late = await begin(here.processes[1], hub, User(1), "s1")
        late.say(type="join", ref=1, topic="rooms/lobby")
        await wait_for(lambda: late.closed is not None)
        assert (late.closed, await late.types()) == (4401, ["welcome", "goodbye"])
        again = await begin(here.processes[1], hub, User(1), "s2")
        again.say(type="join", ref=1, topic="rooms/lobby")
        await wait_for(lambda: len(again.frames) > 1)
        assert await again.types() == ["welcome", "joined"]


@in_jumping_time
async def test_a_connection_of_a_just_ended_session_is_closed_even_if_the_store_still_has_it() -> None:
    """Django sends the signal of a logout first, and deletes the session afterwards."""
    async with fleet(Room, count=2) as here:
        hub = await here.processes[1].runtime.hub()
        await runtimes.current().control.aissue(EndSession(owner="user:1", session=fingerprint("s1")))
        await turns()
        late, other = [await begin(here.processes[1], hub, User(1), session) for session in ("s1", "s2")]
        late.say(type="join", ref=1, topic="rooms/lobby")
        other.say(type="join", ref=1, topic="rooms/lobby")
        await wait_for(lambda: len(other.frames) > 1)
        assert (late.closed, await late.types()) == (4401, ["welcome", "goodbye"])
        assert (other.closed, await other.types()) == (None, ["welcome", "joined"])


@in_jumping_time
async def test_old_revocations_do_not_concern_new_connections() -> None:
    async with fleet(Room) as here:
        await holdfast.adisconnect(1)
        await asyncio.sleep(200)
        await in_rooms(here)
        assert here.identified == []


@in_jumping_time
async def test_a_connection_right_after_the_start_is_checked() -> None:
    async with fleet(Room, fresh_seconds=5.0) as here:
        here.ended.add("s1")
        hub = await here.processes[0].runtime.hub()
        early = await begin(here.processes[0], hub, User(1), "s1")
        await wait_for(lambda: early.closed is not None)
        assert early.closed == 4401
        await asyncio.sleep(10)
        await in_rooms(here)
        assert len(here.identified) == 1


@in_jumping_time
async def test_a_server_that_was_ready_before_the_first_handshake_checks_no_connection() -> None:
    async with fleet(Room, fresh_seconds=5.0) as here:
        here.processes[0].service.revocation.started_before_anybody_came()
        await in_rooms(here)
        assert here.identified == []


@in_jumping_time
async def test_a_token_is_authenticated_again_after_a_revocation_during_the_first_attempt() -> None:
    async with fleet(Room) as here:
        gate, answers = asyncio.Event(), [User(1), None]

        async def authenticate(request: AuthRequest) -> Identity | None:
            await gate.wait()
            user = answers.pop(0)
            return None if user is None else request.identify(user)

        process = here.processes[0]
        process.service.authenticator.authenticate = authenticate  # type: ignore[method-assign]
        hub = await process.runtime.hub()
        socket = await begin(process, hub, None, None, token="t")
        await turns()
        await holdfast.adisconnect(1)
        gate.set()
        assert await socket.types() == ["goodbye"]
        assert (answers, socket.closed) == ([], 4401)


async def begin(process: Process, hub: Any, user: User | None, session: str | None, **hello: str) -> Socket:
    from holdfast.connections.connection import Connection
    from holdfast.protocol.codec import JSON

    socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity_of(user, session)))
    socket.say(type="hello", payload=hello)
    return socket


async def wait_for(look: Any) -> None:
    """Wait until threads have made a condition true. They do not follow this loop's clock."""
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, "it never came about"
        await asyncio.sleep(0)


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db(transaction=True)
async def test_a_call_that_waits_for_a_thread_is_refused_when_its_caller_is_evicted() -> None:
    async with fleet(Room) as here:
        socket, other = await in_rooms(here), await in_rooms(here, pk=2)
        threads, gate = here.processes[0].runtime.threads, threading.Event()
        busy = asyncio.ensure_future(threads.run(gate.wait, 30))
        await turns()
        socket.ask("rooms/lobby", "work", n=1)
        other.ask("rooms/lobby", "work", n=2)
        await turns()
        await LOBBY.aevict(1)
        gate.set()
        await busy
        await wait_for(lambda: len(socket.frames) == 2 and other.frames)
        gone, error = await socket.hear()
        assert (left(gone), error["type"], error["payload"]["code"]) == ("evicted", "error", "forbidden")
        assert await other.types() == ["result"]
        assert Room.done == [2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "order", [Disconnect(owner="user:1"), EndSession(owner="user:1", session=fingerprint("s"))]
)
async def test_a_call_that_waits_for_a_thread_is_not_carried_out_when_its_connection_is_ended(
    order: Any,
) -> None:
    async with fleet(Room) as here:
        socket, other = await here.processes[0].connect(User(1), session="s"), await in_rooms(here, pk=2)
        await socket.join("rooms/lobby")
        threads, gate = here.processes[0].runtime.threads, threading.Event()
        busy = asyncio.ensure_future(threads.run(gate.wait, 30))
        await turns()
        socket.ask("rooms/lobby", "work", n=1)
        other.ask("rooms/lobby", "work", n=2)
        await turns()
        await runtimes.current().control.aissue(order)
        gate.set()
        await busy
        await wait_for(lambda: other.frames)
        assert await other.types() == ["result"]
        assert (await socket.types(), Room.done) == (["goodbye"], [2])


@in_jumping_time
async def test_a_call_that_has_begun_is_answered_after_the_eviction() -> None:
    async with fleet(Room) as here:
        Room.gate = asyncio.Event()
        socket = await in_rooms(here)
        socket.ask("rooms/lobby", "wait")
        await turns()
        await LOBBY.aevict(1)
        Room.gate.set()
        assert await socket.types() == ["left", "result"]
        socket.ask("rooms/lobby", "wait")
        (error,) = await socket.hear()
        assert error["payload"]["code"] == "not_joined"


@in_jumping_time
async def test_a_late_refusal_of_a_call_does_not_end_a_newer_subscription() -> None:
    async with fleet(Room, recheck_seconds=0.0) as here:
        socket = await here.processes[0].connect(User(1))
        await socket.join("rooms/slow")
        (before,) = socket.connection.joined_topics()
        Room.banned.add(1)
        Room.gate = asyncio.Event()
        socket.ask("rooms/slow", "wait")
        await turns()
        rule, Room.gate = Room.gate, None
        socket.connection.evict("rooms/slow", codes.EVICTED)
        Room.banned.clear()
        socket.say(type="join", ref=2, topic="rooms/slow")
        assert await socket.types() == ["left", "joined"]
        rule.set()
        assert await socket.types() == ["error"]
        assert not socket.connection.still_joined(before)
        await Room(room="slow").apublish(Said(1))
        assert await socket.types() == ["event"]


# ── those who are behind ─────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_client_that_did_not_read_is_not_served_what_it_missed() -> None:
    async with fleet(Room, count=2) as here:
        socket = await in_rooms(here, server=1)
        socket.connection.paused()
        await said(1)
        await LOBBY.aevict(1)
        await said(2)
        await turns()
        socket.connection.resumed()
        assert await socket.types() == ["left"]


@in_jumping_time
async def test_a_replay_that_is_under_way_ends_where_it_is() -> None:
    async with fleet(Room, count=2) as here:
        for n in range(300):
            await said(n)
        epoch = here.log.heads(["rooms/lobby"])["rooms/lobby"].epoch
        socket = await here.processes[1].connect(User(1))
        here.processes[1].log_threads.hold("read")
        socket.say(type="join", ref=1, topic="rooms/lobby", payload={"since": {"epoch": epoch, "offset": 0}})
        await turns()
        here.processes[1].log_threads.let_go("read")
        here.processes[1].log_threads.hold("read")  # the first page arrives, the second is read
        await turns(60)
        assert await offsets(socket) == list(range(1, 201))
        await LOBBY.aevict(1)
        await turns()
        here.processes[1].log_threads.let_go("read")
        assert await socket.types() == ["left"]


# ── disconnections ───────────────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_disconnect_closes_all_connections_of_one_user_for_good() -> None:
    async with fleet(Room, count=2) as here:
        mine = [await in_rooms(here, server=server) for server in (0, 1)]
        other = await in_rooms(here, server=1, pk=11)
        await holdfast.adisconnect(User(1), reason="banned")
        for socket in mine:
            (goodbye,) = await socket.hear()
            assert goodbye["payload"] == {"code": "disconnected", "reconnect": False, "reason": "banned"}
            assert socket.closed == 4403
        await said(1)
        assert await other.types() == ["event"]


@in_jumping_time
async def test_the_end_of_a_session_closes_its_connections_and_no_other_device() -> None:
    async with fleet(Room, count=2) as here:
        phone = await here.processes[1].connect(User(1), session="phone")
        laptop = await here.processes[1].connect(User(1), session="laptop")
        stranger = await here.processes[1].connect(User(2), session="phone")
        await runtimes.current().control.aissue(EndSession(owner="user:1", session=fingerprint("phone")))
        await turns()
        assert [socket.closed for socket in (phone, laptop, stranger)] == [4401, None, None]


# ── a backplane that loses, a log that is lost ───────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_revocation_that_the_backplane_lost_is_applied_by_the_next_comparison() -> None:
    async with fleet(Room, count=2) as here:
        socket = await in_rooms(here, server=1)
        here.exchange.fault = lambda topic, message: []
        await LOBBY.aevict(1)
        await holdfast.adisconnect(2)
        assert await socket.types() == []
        await asyncio.sleep(here.timing.compare + 0.1)
        assert await socket.types() == ["left"]


class Outage:
    """Make the log refuse everything, until it is switched on again."""

    def __init__(self, here: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log, self._append = here.log, here.log.append
        self._patch = monkeypatch
        self.tries = 0
        monkeypatch.setattr(here.log, "append", self._refuse)

    def _refuse(self, drafts: Any) -> Any:
        self.tries += 1
        raise LogUnavailable("away")

    def end(self) -> None:
        self._patch.setattr(self._log, "append", self._append)


@in_jumping_time
async def test_a_revocation_that_the_log_refuses_reaches_the_processes_on_the_backplane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fleet(Room, count=2) as here:
        sockets = [await in_rooms(here, server=server) for server in (0, 1)]
        outage = Outage(here, monkeypatch)
        runtimes.current().control.issue_with_retry(Disconnect(owner="user:1"))
        await turns()
        assert [socket.closed for socket in sockets] == [4403, 4403]
        outage.end()
        await wait_for(lambda: not runtimes.current().control.retry_queue)


@pytest.mark.parametrize("backplane", ["receives again", "stays away"])
@in_jumping_time
async def test_a_revocation_that_neither_log_nor_backplane_takes_is_applied_when_the_log_does(
    backplane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet(Room, count=3) as here:
        sockets = [await in_rooms(here, server=server) for server in (0, 1, 2)]
        faithful, here.exchange.fault = here.exchange.fault, lambda topic, message: []
        outage = Outage(here, monkeypatch)
        runtimes.current().control.issue_with_retry(Disconnect(owner="user:1"))
        await wait_for(lambda: outage.tries > 3)  # twice at once, and then by itself
        await turns()
        assert [socket.closed for socket in sockets] == [4403, None, None]
        if backplane == "receives again":
            here.exchange.fault = faithful
        outage.end()
        await wait_for(lambda: not runtimes.current().control.retry_queue)
        if backplane == "stays away":
            await asyncio.sleep(here.timing.compare + 0.1)
        await turns()
        assert [socket.closed for socket in sockets] == [4403] * 3


@in_jumping_time
async def test_a_revocation_from_the_backplane_is_not_applied_again_from_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fleet(Room, count=2) as here:
        sockets = [await in_rooms(here, server=server) for server in (0, 1)]
        outage = Outage(here, monkeypatch)
        runtimes.current().control.issue_with_retry(Evict(topic="rooms/lobby", owners=("user:1",)))
        for socket in sockets:
            assert await socket.types() == ["left"]
            await socket.join("rooms/lobby", 2)
        outage.end()
        await wait_for(lambda: not runtimes.current().control.retry_queue)
        await said(1)
        assert [await socket.types() for socket in sockets] == [["event"], ["event"]]


@in_jumping_time
async def test_a_server_that_stops_hands_over_its_postponed_revocations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fleet(Room, count=2) as here:
        socket = await in_rooms(here, server=1)
        here.exchange.fault = lambda topic, message: []
        outage = Outage(here, monkeypatch)
        runtimes.current().control.issue_with_retry(Disconnect(owner="user:1"))
        outage.end()
        await here.processes[0].stop()
        await asyncio.sleep(here.timing.compare + 0.1)
        assert socket.closed == 4403


@in_jumping_time
async def test_evict_raises_when_the_log_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet(Room) as here:
        await in_rooms(here)
        Outage(here, monkeypatch)
        with pytest.raises(LogUnavailable):
            await LOBBY.aevict(1)
        with pytest.raises(LogUnavailable):
            LOBBY.evict(1)
        assert not runtimes.current().control.retry_queue


@pytest.mark.django_db(transaction=True)
async def test_a_revocation_of_a_committed_transaction_is_kept_if_the_log_may_lose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A log in Redis: the transaction of the database can commit while Redis is away."""
    monkeypatch.setattr(MemoryLog, "staged_may_be_lost", True)
    async with fleet(Room, count=2) as here:
        sockets = [await in_rooms(here, server=server) for server in (0, 1)]

        def expel(commit: bool) -> None:
            with suppress(LookupError), transaction.atomic():
                LOBBY.evict(1)
                if not commit:
                    raise LookupError

        await in_thread(expel, commit=False)
        await turns()
        assert [socket.frames for socket in sockets] == [[], []]
        here.exchange.fault = lambda topic, message: []
        outage = Outage(here, monkeypatch)
        await in_thread(expel, commit=True)
        await wait_for(lambda: outage.tries > 2)
        await turns()
        assert await sockets[0].types() == ["left"]
        outage.end()
        await wait_for(lambda: not runtimes.current().control.retry_queue)
        hub = await here.processes[1].runtime.hub()
        await hub.compare()
        await wait_for(lambda: sockets[1].frames)
        assert await sockets[1].types() == ["left"]


@in_jumping_time
async def test_when_revocations_may_be_lost_all_connections_are_checked() -> None:
    async with fleet(Room, count=2) as here:
        out, stays, ended = [await in_rooms(here, server=1, pk=pk) for pk in (1, 2, 3)]
        here.exchange.fault = lambda topic, message: []
        Room.banned.add(1)
        here.gone.add(3)
        await LOBBY.aevict(1)
        del here.log._streams[TOPIC]  # type: ignore[attr-defined]  # what was ordered is gone with it
        # The server that knew of the order gives the log another epoch; then the others see that.
        await asyncio.sleep(2 * here.timing.compare + 0.1)
        await wait_for(lambda: ended.closed is not None)
        assert [left(frame) for frame in await out.hear()] == ["forbidden"]
        assert (await stays.types(), stays.closed, ended.closed) == ([], None, 4401)


@in_jumping_time
async def test_a_process_that_starts_without_its_log_checks_all_connections_when_it_answers() -> None:
    async with fleet(Room) as here:
        late = here.processes[0]
        await late.stop()
        late.log_threads.fail("heads", *[LogUnavailable("away")] * 8)
        await late.runtime.hub()
        socket = await late.connect(User(1))
        here.gone.add(1)
        await asyncio.sleep(20)
        await wait_for(lambda: socket.closed is not None)
        assert socket.closed == 4401


@in_jumping_time
async def test_a_revocation_of_a_newer_version_makes_all_connections_be_checked() -> None:
    from holdfast.log.base import Draft

    async with fleet(Room) as here:
        socket = await in_rooms(here)
        Room.banned.add(1)
        payload = b'{"order":"banish","id":"1","to":"Elba"}'
        here.processes[0].runtime.publisher.publish(
            [Draft(topic=TOPIC, name="banish", payload=payload)], durable=True
        )
        await wait_for(lambda: bool(socket.frames))
        assert [left(frame) for frame in await socket.hear()] == ["forbidden"]


@pytest.mark.parametrize("name", [TOPIC, "!anything"])
@in_jumping_time
async def test_no_client_can_join_the_control_topic(name: str) -> None:
    class Anything(Topic):
        route = "<path:anything>"

        async def may_join(self, user: Any) -> bool:
            return True

    async with fleet(Anything) as here:
        socket = await here.processes[0].connect()
        assert (await socket.join(name))["payload"]["code"] == "forbidden"
        assert (await socket.join("anything"))["type"] == "joined"
        with pytest.raises(ValueError, match="only Holdfast's own"):
            Anything(anything=name)


def test_no_route_can_begin_like_a_reserved_topic() -> None:
    with pytest.raises(TypeError, match="only names of Holdfast's own"):

        class Bad(Topic):
            route = "!rooms"

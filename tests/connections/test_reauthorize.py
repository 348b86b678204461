"""Connections that stay are re-checked: on a schedule, and after a revocation."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import holdfast
from holdfast import Event, Topic, action
from holdfast import runtime as runtimes
from holdfast.connections import reauthorize
from holdfast.connections.reauthorize import PAUSES
from holdfast.control.commands import Recheck
from tests.support.clock import in_jumping_time, turns
from tests.support.connected import Fleet, Socket, User, fleet, identity_of
from tests.support.hubs import Scripted

PERIOD = 300.0


class Said(Event):
    n: int


class Rules:
    """The answers of the rules, and the users that the rules were asked about."""

    def __init__(self) -> None:
        self.out: set[Any] = set()
        self.asked: list[tuple[str, Any]] = []
        self.error: Exception | None = None
        self.hangs = False

    def answer(self, topic: Topic, user: Any) -> bool:
        self.asked.append((topic.name, user))
        if self.error is not None:
            raise self.error
        return getattr(user, "pk", None) not in self.out


rules = Rules()


class Hall(Topic):
    """A topic whose rule is a ``def``."""

    route = "halls/<int:hall>"
    events = [Said]

    def may_join(self, user: Any) -> bool:
        return rules.answer(self, user)


class Room(Topic):
    """A topic whose rule is an ``async def``."""

    route = "rooms/<int:room>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        if rules.hangs:
            await asyncio.Event().wait()
        return rules.answer(self, user)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    rules.__init__()  # type: ignore[misc]


def inline(here: Any) -> None:
    """Run handlers on the spot, because the clock jumps and threads do not follow it."""
    for process in here.processes:
        Scripted().replace(process.runtime.threads)


async def joined(here: Any, pk: int | None, *topics: str, **more: Any) -> Socket:
    socket: Socket = await here.processes[0].connect(None if pk is None else User(pk), **more)
    for ref, topic in enumerate(topics):
        assert (await socket.join(topic, ref))["type"] == "joined"
    rules.asked.clear()
    return socket


@in_jumping_time
async def test_a_right_that_ended_without_a_revocation_ends_within_the_period() -> None:
    async with fleet(Hall, Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, 1, "halls/1", "rooms/1")
        other = await joined(here, 2, "halls/1", "rooms/1")
        rules.out.add(1)
        await asyncio.sleep(1.5 * PERIOD)
        frames = await socket.hear()
        assert [(frame["type"], frame["topic"], frame["payload"]["code"]) for frame in frames] == [
            ("left", "halls/1", "forbidden"),
            ("left", "rooms/1", "forbidden"),
        ]
        assert (await other.hear(), other.closed) == ([], None)


@in_jumping_time
async def test_a_session_or_a_user_that_ended_without_a_revocation_ends_its_connections() -> None:
    async with fleet(Hall, reauthorize_seconds=PERIOD) as here:
        inline(here)
        gone, ended, stays = [
            await joined(here, pk, session=session) for pk, session in ((1, "a"), (2, "b"), (2, "c"))
        ]
        here.gone.add(1)
        here.ended.add("b")
        await asyncio.sleep(1.5 * PERIOD)
        assert [socket.closed for socket in (gone, ended, stays)] == [4401, 4401, None]


@in_jumping_time
async def test_the_callers_user_is_the_one_that_was_just_read() -> None:
    async with fleet(Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, 1, "rooms/1")
        before = socket.connection.caller.user
        await asyncio.sleep(1.5 * PERIOD)
        after = socket.connection.caller.user
        assert before is not after
        assert rules.asked[-1] == ("rooms/1", after)
        assert socket.connection.caller.connection_id == socket.connection._session.id


@in_jumping_time
async def test_a_rule_is_asked_once_for_a_user_and_once_for_all_anonymous_connections() -> None:
    async with fleet(Hall, Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        for number in range(6):
            await joined(here, 1, "halls/1", "rooms/1", session=f"s{number % 2}")
            await joined(here, None, "halls/1")
        here.identified.clear()
        await asyncio.sleep(1.5 * PERIOD)
        assert sorted(name for name, _ in rules.asked) == ["halls/1", "halls/1", "rooms/1"]
        assert sorted(str(identity.session_key) for identity in here.identified) == ["s0"] * 3 + ["s1"] * 3


@in_jumping_time
async def test_a_permission_that_was_just_checked_is_not_checked_again() -> None:
    async with fleet(Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, 1, "rooms/1")
        await asyncio.sleep(0.9 * PERIOD)
        socket.connection.joined_topics()[0].checked = here.processes[0].runtime._hub.loop.time()  # type: ignore[index, union-attr]
        await asyncio.sleep(0.2 * PERIOD)
        assert rules.asked == []


@in_jumping_time
async def test_the_checks_are_spread_over_the_period() -> None:
    async with fleet(Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        times: list[float] = []
        process = here.processes[0]
        identify = here.identify

        def note(identities: Any) -> Any:
            times.append(process.runtime._hub.loop.time())  # type: ignore[union-attr]
            return identify(identities)

        here.identify = note  # type: ignore[method-assign]
        for pk in range(2 * reauthorize.CHUNK + 1):
            await process.connect(User(pk))
        await asyncio.sleep(2 * PERIOD)
        first, second, third = times[:3]
        assert (second - first, third - second) == (PERIOD / 3, PERIOD / 3)


@pytest.mark.parametrize("period", [0.0])
@in_jumping_time
async def test_without_a_period_nothing_is_re_checked(period: float) -> None:
    async with fleet(Room, reauthorize_seconds=period) as here:
        inline(here)
        await joined(here, 1, "rooms/1")
        await asyncio.sleep(10 * PERIOD)
        assert (rules.asked, here.identified) == ([], [])


# ── what cannot be answered ──────────────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_scheduled_check_without_an_answer_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with fleet(Hall, Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, 1, "halls/1", "rooms/1")
        rules.error, here.broken = ZeroDivisionError(), None
        await asyncio.sleep(1.5 * PERIOD)
        rules.error, here.broken = None, ConnectionError("away")
        await asyncio.sleep(1.5 * PERIOD)
        assert (await socket.hear(), socket.closed) == ([], None)
        here.broken = None
        rules.out.add(1)
        await asyncio.sleep(1.5 * PERIOD)
        assert await socket.types() == ["left", "left"]
        assert "may_join failed" in caplog.text


@in_jumping_time
async def test_a_check_after_a_revocation_is_repeated_until_there_is_an_answer() -> None:
    async with fleet(Hall, Room) as here:
        inline(here)
        out, stays = await joined(here, 1, "halls/1", "rooms/1"), await joined(here, 2, "halls/1")
        here.broken = ConnectionError("away")
        rules.out.add(1)
        await holdfast.arecheck(1)
        await Hall.arecheck()
        await asyncio.sleep(PAUSES[0] / 2)
        assert (await out.hear(), await stays.hear()) == ([], [])
        here.broken, rules.error = None, OSError("away")
        await asyncio.sleep(PAUSES[0])
        assert await out.hear() == []
        rules.error = None
        await asyncio.sleep(sum(PAUSES))
        assert (await out.types(), await stays.types()) == (["left", "left"], [])


@in_jumping_time
async def test_a_connection_whose_user_cannot_be_read_is_closed_and_may_reconnect() -> None:
    async with fleet(Hall) as here:
        inline(here)
        socket, other = await joined(here, 1, "halls/1"), await joined(here, 2, "halls/1")
        here.broken = ConnectionError("away")
        await holdfast.arecheck(1)
        await asyncio.sleep(sum(PAUSES) + 1)
        (goodbye,) = await socket.hear()
        assert goodbye["payload"] == {"code": "failed", "reconnect": True}
        assert other.closed is None


@in_jumping_time
async def test_an_identity_that_cannot_be_checked_affects_no_other_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet(Hall) as here:
        inline(here)
        bad, good = await joined(here, 1, "halls/1"), await joined(here, 2, "halls/1")
        here.unreadable[1] = ValueError("no such key")
        await holdfast.arecheck(1)
        await holdfast.arecheck(2)
        here.identified.clear()
        await asyncio.sleep(sum(PAUSES) + 1)
        assert (bad.closed, good.closed) == (4050, None)
        assert [each.user.pk for each in here.identified].count(2) == 2  # in the group, and alone
        assert "no such key" in caplog.text


@in_jumping_time
async def test_while_the_store_is_away_identities_are_not_asked_about_one_by_one() -> None:
    async with fleet(Hall) as here:
        inline(here)
        for pk in range(5):
            await joined(here, pk, "halls/1")
        here.broken = ConnectionError("away")
        await Hall.arecheck()
        await asyncio.sleep(PAUSES[0] / 2)
        assert len(here.identified) == 5


@in_jumping_time
async def test_a_rule_that_fails_after_a_recheck_ends_the_subscription() -> None:
    async with fleet(Hall, Room) as here:
        inline(here)
        socket = await joined(here, 1, "halls/1", "rooms/1")
        rules.error = ZeroDivisionError()
        await Hall(hall=1).arecheck()
        await asyncio.sleep(sum(PAUSES) + 1)
        (frame,) = await socket.hear()
        assert (frame["topic"], frame["payload"]["code"]) == ("halls/1", "internal")


@in_jumping_time
async def test_when_a_check_itself_fails_it_counts_as_a_no_and_the_next_check_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet(Hall) as here:
        inline(here)
        socket, other = await joined(here, 1, "halls/1"), await joined(here, 2, "halls/1")
        reauthorization = here.processes[0].service.revocation._reauthorization
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reauthorization, "ask", None)
            await holdfast.arecheck(1)
            await turns()
        assert socket.closed == 4050
        rules.out.add(2)
        await holdfast.arecheck(2)
        assert await other.types() == ["left"]
        assert "could not be re-checked" in caplog.text


@in_jumping_time
async def test_a_rule_that_hangs_does_not_delay_other_checks() -> None:
    async with fleet(Hall, Room) as here:
        inline(here)
        hanging, other = await joined(here, 1, "rooms/1"), await joined(here, 2, "halls/1")
        rules.hangs = True
        await holdfast.arecheck(1)
        await turns()
        rules.out.add(2)
        await holdfast.arecheck(2)
        assert await other.types() == ["left"]
        assert await hanging.hear() == []


@in_jumping_time
async def test_a_rule_that_hangs_does_not_delay_other_checks_of_the_same_revocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reauthorize, "CHUNK", 1)
    async with fleet(Hall, Room) as here:
        inline(here)
        hanging, other = await joined(here, 1, "rooms/1"), await joined(here, 2, "halls/1")
        rules.hangs = True
        rules.out.add(2)
        await runtimes.current().control.aissue(Recheck(owners=("user:1", "user:2")))
        assert await other.types() == ["left"]
        assert await hanging.hear() == []


@in_jumping_time
async def test_an_answer_from_before_a_revocation_is_not_trusted_after_it() -> None:
    class Desk(Topic):
        route = "desk"
        answers: list[asyncio.Future[bool]] = []

        async def may_join(self, user: Any) -> bool:
            answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            Desk.answers.append(answer)
            return await answer

        @action
        async def work(self, caller: Any) -> None:
            pass

    async with fleet(Desk) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        socket.say(type="join", ref=1, topic="desk", payload={})
        await turns()
        Desk.answers.pop().set_result(True)
        assert await socket.types() == ["joined"]
        await Desk().arecheck()
        await turns()
        await Desk().arecheck()
        await turns()
        before, after = Desk.answers
        before.set_result(True)
        await turns()
        socket.ask("desk", "work")
        await turns()
        assert len(Desk.answers) == 3, "the call asks for itself"
        Desk.answers[2].set_result(False)
        (error, gone) = await socket.hear()
        assert (error["payload"]["code"], gone["payload"]["code"]) == ("forbidden", "forbidden")
        after.set_result(False)
        assert await socket.hear() == []


# ── a user who changes while he joins ────────────────────────────────────────────────────────────────────────────────


@in_jumping_time
async def test_a_join_while_the_user_is_read_again_waits_for_the_new_user() -> None:
    """A rule may read caches on the user object, as ``has_perm`` does."""

    class Bridge(Topic):
        route = "bridge"

        async def may_join(self, user: Any) -> bool:
            return bool(getattr(user, "is_captain", False))

    async with fleet(Bridge) as here:
        slow = Scripted().replace(here.processes[0].runtime.threads)
        captain = User(1)
        captain.is_captain = True  # type: ignore[attr-defined]
        socket = await here.processes[0].connect(captain)
        slow.hold("identify")
        await holdfast.arecheck(1)
        socket.say(type="join", ref=1, topic="bridge")
        assert await socket.hear() == []
        slow.let_go("identify")
        (answer,) = await socket.hear()
        assert answer["payload"]["code"] == "forbidden"


@in_jumping_time
@pytest.mark.timeout(10)
async def test_a_join_in_the_turn_in_which_the_user_was_read_does_not_wait() -> None:
    """Awaiting a finished future does not let the loop turn. A join that waited in a loop for its removal would never end."""
    async with fleet(Hall) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        reauthorization = here.processes[0].service.revocation._reauthorization
        question = reauthorization._check(socket.connection)
        waiting = asyncio.ensure_future(reauthorization.settled(socket.connection.id))
        await asyncio.sleep(0)
        assert not waiting.done()
        question.settle()
        await reauthorization.settled(socket.connection.id)  # in the same turn
        await waiting


@in_jumping_time
async def test_an_evicted_user_joins_again_only_as_the_user_they_are_now() -> None:
    class Bridge(Topic):
        route = "bridge"

        async def may_join(self, user: Any) -> bool:
            return bool(getattr(user, "is_captain", False))

    async with fleet(Bridge) as here:
        inline(here)
        captain = User(1)
        captain.is_captain = True  # type: ignore[attr-defined]
        socket = await here.processes[0].connect(captain)
        assert (await socket.join("bridge"))["type"] == "joined"
        await Bridge().aevict(1)
        socket.say(type="join", ref=2, topic="bridge")
        await turns()
        left, answer = await socket.hear()
        assert (left["payload"]["code"], answer["payload"]["code"]) == ("evicted", "forbidden")


class Bridge(Topic):
    route = "bridge"

    async def may_join(self, user: Any) -> bool:
        return bool(getattr(user, "is_captain", False))


@in_jumping_time
async def test_a_user_read_before_a_revocation_does_not_replace_one_read_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captains, late = {1}, asyncio.Event()

    def identify(self: Any, identities: Any) -> list[Any]:
        users = [User(identity.user.pk) for identity in identities]
        for user in users:
            user.is_captain = user.pk in captains  # type: ignore[attr-defined]
        return [identity_of(user) for user in users]

    async def handle(info: Any, function: Any, *args: Any) -> Any:
        found = function(*args)
        if captains:
            await late.wait()
        return found

    monkeypatch.setattr(Fleet, "identify", identify)
    async with fleet(Bridge) as here:
        here.processes[0].runtime.threads.handle = handle  # type: ignore[method-assign]
        socket = await here.processes[0].connect(User(1))
        await holdfast.arecheck(1)
        await turns()
        captains.clear()
        await holdfast.arecheck(1)
        await turns()
        late.set()
        await asyncio.sleep(1)
        assert (await socket.join("bridge"))["payload"]["code"] == "forbidden"

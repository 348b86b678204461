"""G6: a call is carried out once, however often it is sent, to any process, and whichever process dies on the way."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.db import connections, transaction

from holdfast import Event, Keep, Refuse, Topic, action
from holdfast import runtime as runtimes
from holdfast.backplane.memory import MemoryBackplane
from holdfast.connections.caller import ConnectionCaller
from holdfast.connections.calls import Calls
from holdfast.connections.request import CallFailed
from holdfast.limits.base import Limiter
from holdfast.limits.memory import MemoryLimiter
from holdfast.log.base import LogUnavailable
from holdfast.log.database import DatabaseLog
from holdfast.protocol.positions import Position
from holdfast.runtime import Runtime
from holdfast.threads.threads import Threads
from tests.limits.elsewhere import LimiterElsewhere
from tests.log.transactions import a_transaction_waits
from tests.support.identities import ANONYMOUS

from .scratch import add_row, rows, scratch_table


class Died(BaseException):
    """The process that ran this is gone. (No code catches this exception, as no process catches a SIGKILL.)"""


class Done(Event):
    value: str


class Work(Topic):
    route = "work/<slug:run>"
    events = [Done]
    keep = Keep()

    alias: str = "default"
    deaths: Counter[str] = Counter()
    done: Counter[str] = Counter()

    def may_join(self, user: Any) -> bool:
        return True

    @action
    def write(self, caller: Any, value: str, fate: str = "well") -> str:
        add_row(self.alias, value)
        self.publish(Done(value))
        self._meet(value, fate)
        if fate == "overlap":
            a_transaction_waits(self.alias)
        if fate == "refuse":
            raise Refuse("not_today")
        if fate == "bug":
            raise ZeroDivisionError
        if fate == "after":
            transaction.on_commit(_break, using=self.alias)
        return f"{value} is done"

    @action(timeout=0.3)
    async def touch(self, caller: Any, value: str, fate: str = "well") -> str:
        Work.done[value] += 1
        await asyncio.sleep(0.001)
        self._meet(value, fate)
        if fate == "refuse":
            raise Refuse("not_today")
        if fate == "away":
            raise LogUnavailable("away")
        return f"{value} is done"

    @action(rate="1/h")
    def seldom(self, caller: Any, value: str) -> str:
        add_row(self.alias, value)
        return value

    @action(rate="1/h")
    async def seldom_async(self, caller: Any, value: str) -> str:
        Work.done[value] += 1
        return value

    def _meet(self, value: str, fate: str) -> None:
        if fate == "die" and Work.deaths[value] > 0:
            Work.deaths[value] -= 1
            raise Died


def _break() -> None:
    raise RuntimeError("the project's own on_commit failed")


class Process:
    """One server: its calls and its threads."""

    def __init__(self, log: DatabaseLog) -> None:
        self.threads, self.log_threads = Threads(4), Threads(2, keep_connections=True)
        self.calls = Calls(log.calls, self.threads, self.log_threads, MemoryLimiter())

    async def call(
        self, name: str, key: str | None, client: str = "ada", is_open: bool = True, **arguments: str
    ) -> str:
        """The answer, as it would go over the wire. Raises :class:`Died` when there is none."""
        caller = ConnectionCaller(identity=ANONYMOUS, secret=client, connection_id="s")
        try:
            request = self.calls.request(
                Work(run="1"), caller, name, key, msgspec.json.encode(arguments), now=0.0, recheck=False
            )
        except CallFailed as failure:
            return f"error {failure.payload.code}"
        answered: asyncio.Future[bytes | CallFailed] = asyncio.get_running_loop().create_future()

        def answer(outcome: bytes | CallFailed | None) -> None:
            if outcome is not None:  # else a call that took too long has ended
                answered.set_result(outcome)

        self.calls.perform(request, answer, lambda: is_open)
        ended = asyncio.create_task(self.calls.finish())
        await asyncio.wait([answered, ended], return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise Died
        ended.cancel()
        outcome = answered.result()
        return (
            f"error {outcome.payload.code}"
            if isinstance(outcome, CallFailed)
            else f"result {outcome.decode()}"
        )

    async def end(self) -> None:
        await asyncio.to_thread(self.threads.close)
        await asyncio.to_thread(self.log_threads.close)


class Installation:
    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.log = DatabaseLog(alias)
        self.processes = [Process(self.log), Process(self.log)]

    def run(self, work: Any) -> Any:
        async def run() -> Any:
            try:
                return await work
            finally:
                # Calls that are still under way after an error would use threads, and their connections, that have ended.
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                for process in self.processes:
                    await process.end()

        return asyncio.run(run())

    def events(self) -> list[str]:
        self.log.sequence(["work/1"])
        head = self.log.heads(["work/1"])["work/1"]
        entries = self.log.read("work/1", Position(epoch=head.epoch, offset=0), 10_000)
        return sorted(msgspec.json.decode(entry.payload)["value"] for entry in entries)


@pytest.fixture
def installation(database: str) -> Iterator[Installation]:
    made = Installation(database)
    Work.alias = database
    Work.deaths.clear()
    Work.done.clear()
    parts = Runtime(
        log=made.log,
        backplane=MemoryBackplane(),
        threads=Threads(1),
        log_threads=Threads(1, keep_connections=True),
    )
    with scratch_table(database), runtimes.using(parts):
        yield made


async def client(
    installation: Installation, chance: random.Random, number: int, action: str
) -> tuple[str, str, list[str]]:
    """Sends one call repeatedly, to each of the servers, until it has an answer; and once more to compare."""
    value, fate = f"v{number:03}", chance.choice(["well", "well", "die", "die", "refuse", "bug", "after"])
    if action == "touch" and fate in ("bug", "after"):
        fate = "well"
    Work.deaths[value] = chance.randrange(3) if fate == "die" else 0
    answers: list[str] = []

    async def send() -> None:
        process = chance.choice(installation.processes)
        with contextlib.suppress(Died):
            answer = await process.call(action, f"k-{number}", value=value, fate=fate)
            if chance.random() < 0.6:  # otherwise the connection broke before the answer came
                answers.append(answer)

    while not answers:
        await asyncio.gather(*[send() for _ in range(chance.choice([1, 1, 2, 3]))])
    for process in installation.processes:
        # On a slow machine `timeout` may have been the answer to a call that never began. Then this one is the first.
        answered = "error timeout"
        while answered == "error timeout":
            with contextlib.suppress(Died):
                answered = await process.call(action, f"k-{number}", value=value, fate=fate)
        answers.append(answered)
    return value, fate, answers


@pytest.mark.parametrize("seed", [1, 2, None])
def test_a_call_in_a_transaction_has_one_effect_and_one_answer(
    installation: Installation, seed: int | None
) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def storm() -> Any:
        return await asyncio.gather(*[client(installation, chance, number, "write") for number in range(25)])

    stories = installation.run(storm())
    written = Counter(rows(installation.alias))
    for value, fate, answers in stories:
        expected = {"refuse": "error refused", "bug": "error internal"}.get(fate, f'result "{value} is done"')
        assert set(answers) == {expected}, (value, fate)
        assert written[value] == (1 if expected.startswith("result") else 0), (value, fate)
    assert installation.events() == rows(installation.alias)


@pytest.mark.parametrize("seed", [1, None])
def test_a_call_outside_of_one_has_at_most_one_effect_and_no_two_results(
    installation: Installation, seed: int | None
) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def storm() -> Any:
        return await asyncio.gather(*[client(installation, chance, number, "touch") for number in range(25)])

    for value, fate, answers in installation.run(storm()):
        assert Work.done[value] == 1, (value, fate)
        certain = set(answers) - {"error outcome_unknown", "error timeout"}
        assert len(certain) <= 1, (value, fate, answers)
        if fate == "well":
            assert certain <= {f'result "{value} is done"'}


@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize("database", ["postgres"])
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_call_that_two_processes_get_at_once_is_answered_under_any_isolation_level(
    installation: Installation, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"options": "-c default_transaction_isolation=" + level.replace(" ", "\\ ")}
    monkeypatch.setitem(connections["postgres"].settings_dict, "OPTIONS", options)

    async def run() -> list[str]:
        here, there = installation.processes
        sent = {"key": "k", "value": "v", "fate": "overlap"}
        return await asyncio.gather(here.call("write", **sent), there.call("write", **sent))

    assert installation.run(run()) == ['result "v is done"'] * 2
    assert rows(installation.alias) == ["v"]


def test_an_error_is_an_answer_too(installation: Installation) -> None:
    async def run() -> None:
        here, there = installation.processes
        assert await here.call("write", "k", value="a", fate="refuse") == "error refused"
        assert await there.call("write", "k", value="a", fate="well") == "error refused"

    installation.run(run())
    assert rows(installation.alias) == []


def test_a_key_belongs_to_one_caller_and_one_action(installation: Installation) -> None:
    async def run() -> None:
        here, there = installation.processes
        assert await here.call("write", "k", value="a") == 'result "a is done"'
        assert await there.call("touch", "k", value="a") == "error key_reused"
        assert await there.call("write", "k", client="grace", value="b") == 'result "b is done"'

    installation.run(run())
    assert rows(installation.alias) == ["a", "b"]


def test_without_a_key_each_call_is_its_own(installation: Installation) -> None:
    async def run() -> None:
        for _ in range(2):
            await installation.processes[0].call("write", None, value="a")

    installation.run(run())
    assert rows(installation.alias) == ["a", "a"]


@pytest.mark.parametrize("limiter", [MemoryLimiter, LimiterElsewhere], ids=["here", "elsewhere"])
def test_a_repeated_call_gets_its_answer_although_the_rate_is_used_up(
    installation: Installation, limiter: type[Limiter]
) -> None:
    async def run() -> None:
        for process in installation.processes:
            process.calls._limiter = limiter()
        here, there = installation.processes
        for name in ("seldom", "seldom_async"):
            assert await here.call(name, f"1-{name}", value=name) == f'result "{name}"'
            assert await here.call(name, f"1-{name}", value=name) == f'result "{name}"'
            assert await here.call(name, f"2-{name}", value=name) == "error rate_limited"
            assert await here.call(name, None, value=name) == "error rate_limited"
            # It was not carried out, so it may be when there is time for it.
            assert await there.call(name, f"2-{name}", value=name) == f'result "{name}"'

    installation.run(run())
    assert rows(installation.alias) == ["seldom", "seldom"]
    assert Work.done["seldom_async"] == 2


def test_a_call_whose_connection_has_ended_before_it_begins_is_carried_out_only_with_a_key(
    installation: Installation,
) -> None:
    async def run() -> None:
        here, there = installation.processes
        assert await here.call("write", None, is_open=False, value="a") == "error unavailable"
        await here.call("write", "k", is_open=False, value="b")
        assert await there.call("write", "k", value="b") == 'result "b is done"'

    installation.run(run())
    assert rows(installation.alias) == ["b"]


def test_a_call_beyond_its_rate_claims_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(*_: object, **__: object) -> None:
        raise AssertionError("a claim is a write")

    async def run() -> None:
        here = installation.processes[0]
        for name in ("seldom", "seldom_async"):
            assert await here.call(name, f"1-{name}", value=name) == f'result "{name}"'
            with monkeypatch.context() as reading:
                reading.setattr(installation.log.calls, "claim", claim)
                assert await here.call(name, f"2-{name}", value=name) == "error rate_limited"
                assert await here.call(name, f"1-{name}", value=name) == f'result "{name}"'

    installation.run(run())


def test_a_shared_limiter_that_does_not_answer_fails_the_call_and_no_other(
    installation: Installation,
) -> None:
    async def run() -> None:
        here = installation.processes[0]
        limiter = here.calls._limiter = LimiterElsewhere()
        limiter.error = LogUnavailable("away")
        assert await here.call("seldom", "k", value="a") == "error unavailable"
        assert await here.call("write", "w", value="b") == 'result "b is done"'
        limiter.error = None
        assert await here.call("seldom", "k", value="a") == 'result "a"'

    installation.run(run())
    assert rows(installation.alias) == ["a", "b"]


def test_an_answer_that_cannot_be_kept_is_given_and_never_a_second_one(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LogUnavailable("away")

    async def run() -> None:
        here, there = installation.processes
        with monkeypatch.context() as broken:
            broken.setattr(installation.log.calls, "answer", away)
            assert await here.call("touch", "k", value="a") == 'result "a is done"'
        assert await there.call("touch", "k", value="a") in ("error timeout", "error outcome_unknown")
        await asyncio.sleep(0.05)
        assert Work.done["a"] == 1

    installation.run(run())


def test_a_database_that_is_away_is_no_answer_for_good(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    async def run() -> None:
        here, there = installation.processes
        with monkeypatch.context() as broken:
            broken.setattr("tests.guarantees.test_calls.add_row", away)
            assert await here.call("write", "k", value="a") == "error unavailable"
        assert await there.call("write", "k", value="a") == 'result "a is done"'

    installation.run(run())
    assert rows(installation.alias) == ["a"]


def test_a_database_that_leaves_an_async_action_leaves_its_outcome_unknown(
    installation: Installation,
) -> None:
    async def run() -> None:
        here, there = installation.processes
        assert await here.call("touch", "k", value="a", fate="away") == "error outcome_unknown"
        assert await there.call("touch", "k", value="a", fate="away") == "error outcome_unknown"
        assert await here.call("touch", None, value="b", fate="away") == "error unavailable"

    installation.run(run())
    assert Work.done == {"a": 1, "b": 1}

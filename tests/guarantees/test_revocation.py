"""G4: once a revocation has taken effect on a server, nothing more of the topic reaches the users there who lost their right;
and no other user is affected.

Two servers on one database, joined by a backplane that loses, doubles, delays and reorders. Users with several sessions
and tabs connect, join, read slowly and come late; rights are taken away with evictions, disconnections, ends of sessions
and rechecks, outside of transactions and in transactions that commit, roll back, or whose process dies before the command
is numbered; the log answers late. In the end everything is compared with the log once. Then users without a right receive
no event that is published, and users with a right who were never evicted receive all of them.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Event, Keep, Topic
from holdfast.connections.connection import Connection
from holdfast.connections.revocation import fingerprint
from holdfast.control.commands import TOPIC, ControlCommand, Disconnect, EndSession, Evict, Recheck
from holdfast.hub.hub import Timing
from holdfast.log.base import Draft
from holdfast.log.database import DatabaseLog
from holdfast.log.tables import OUTBOX
from holdfast.protocol.codec import JSON
from holdfast.streams.prepared import Burst
from tests.support.clock import JumpingLoop, turns
from tests.support.connected import Fleet, Process, Socket, User, identity_of
from tests.support.hubs import Scripted

from .conftest import PROFILE
from .stories import Kinds, Step, all_action, seeds, stories
from .test_delivery import Network
from .workers import Beside, Worker, working

LENGTH = 50
USERS = range(1, 4)
KEPT, PASSING = "kept", "passing"


class Said(Event):
    n: int


class Truth:
    """The rights of the users, and the commands that were issued."""

    def __init__(self) -> None:
        self.rights = {(pk, kind) for pk in USERS for kind in (KEPT, PASSING)}
        self.gone: set[int] = set()
        self.ended: set[str] = set()
        self.ordered: list[ControlCommand] = []
        # On a server, for an owner or a session: no such events.
        self.effective: set[tuple[Process, str, str]] = set()
        self.broken: list[AssertionError] = []

    def may(self, pk: int, kind: str) -> bool:
        return pk not in self.gone and (pk, kind) in self.rights


class Kept(Topic):
    route = "kept/<slug:run>"
    events = [Said]
    keep = Keep()
    truth: Truth

    async def may_join(self, user: Any) -> bool:
        return Kept.truth.may(user.pk, KEPT)


class Passing(Topic):
    route = "passing/<slug:run>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return Kept.truth.may(user.pk, PASSING)


class Tab(Socket):
    """A client's tab, which reports messages that must not reach it."""

    def __init__(self, story: "Story", process: Process, pk: int, session: str) -> None:
        self.story, self.process, self.pk, self.session = story, process, pk, session
        self.heard: list[int] = []
        self.put_out: set[str] = set()
        self.joined: set[str] = set()
        hub = process.runtime._hub
        assert hub is not None
        super().__init__(
            lambda sink: Connection(process.service, hub, sink, JSON, identity_of(User(pk), session))
        )

    def send(self, data: str | bytes) -> None:
        super().send(data)
        frame = self.frames.pop()
        kind = str(frame.get("topic", "")).partition("/")[0]
        truth = self.story.truth
        match frame["type"]:
            case "joined":
                self.joined.add(kind)
            case "event":
                self.heard.append(frame["payload"]["n"])
                for barred in (f"user:{self.pk}", self.session):
                    self.check(
                        (self.process, barred, kind) not in truth.effective,
                        f"{self} hears {frame} after {barred} was put out",
                    )
            case "left":
                self.joined.discard(kind)
                self.put_out.add(kind)
                self.check(self.story.was_ordered(self, kind), f"{self} is put out of {kind} for nothing")
            case "goodbye":
                self.put_out |= {KEPT, PASSING}
                self.check(
                    self.story.was_ordered(self, None),
                    f"{self} is disconnected for nothing: {frame['payload']}",
                )

    def send_events(self, burst: Burst) -> None:
        for event in burst.events:
            self.send(event.json)

    def note_join(self, asked: str, topic: str, position: object) -> None:
        pass

    def note_reset(self, topic: str, position: object) -> None:
        pass

    def slow_down(self, seconds: float) -> None:
        pass

    def probe(self) -> bool:
        return False

    def check(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.story.truth.broken.append(AssertionError(complaint))

    def __repr__(self) -> str:
        return f"<tab of {self.pk} in {self.session} on {self.story.servers.index(self.process)}>"


class Story:
    def __init__(self, alias: str, workers: list[Worker], seed: int) -> None:
        self.alias, self.workers = alias, workers
        self.loop = JumpingLoop()
        asyncio.set_event_loop(None)
        self.errors: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.truth = Kept.truth = Truth()
        self.names = {kind: f"{kind}/{uuid4().hex}" for kind in (KEPT, PASSING)}
        self.network = Network(seed)
        self.fleet = Fleet(
            (Kept, Passing),
            log=DatabaseLog(alias),
            timing=Timing(compare=1e9, patience=0, linger=1e9),
        )
        self.fleet.exchange = self.network.exchange
        self.fleet.gone, self.fleet.ended = self.truth.gone, self.truth.ended
        self.numbers = iter(range(10**6))
        self.tabs: list[Tab] = []
        self.pending: list[tuple[ControlCommand, Callable[[], None]]] = []  # of the open transaction
        self.author, self.other = workers[:2]
        self.servers = [self.run(self.start(worker)) for worker in workers[2:]]

    async def start(self, worker: Worker) -> Process:
        process = await self.fleet.process(reauthorize_seconds=0.0, start=False)
        process.log_threads = process.runtime.log_threads = Beside(worker)  # type: ignore[assignment]
        process.runtime.publisher._threads = process.log_threads  # type: ignore[assignment]
        Scripted().replace(process.runtime.threads)
        carry_out = process.service.revocation.carry_out

        def watched(orders: Sequence[ControlCommand]) -> None:
            carry_out(orders)
            for order in orders:
                self.took_effect(process, order)

        process.service.revocation.carry_out = watched  # type: ignore[method-assign]
        await process.runtime.hub()
        return process

    # ── what was ordered ─────────────────────────────────────────────────────────────────────────────────────────────

    def took_effect(self, process: Process, order: ControlCommand) -> None:
        """Expect no event of it on this server from now on, unless the right was granted again in the meantime."""
        truth = self.truth
        match order:
            case Evict(topic=topic, owners=(owner,)):
                kind = topic.partition("/")[0]
                if not truth.may(int(owner.partition(":")[2]), kind):
                    truth.effective.add((process, owner, kind))
            case Disconnect(owner=owner):
                if int(owner.partition(":")[2]) in truth.gone:
                    truth.effective |= {(process, owner, KEPT), (process, owner, PASSING)}
            case EndSession(session=session):
                ended = next(s for s in truth.ended if fingerprint(s) == session)
                truth.effective |= {(process, ended, KEPT), (process, ended, PASSING)}

    def was_ordered(self, tab: Tab, kind: str | None) -> bool:
        """Return whether a command may have evicted the tab from a topic, or (``None``) closed its connection."""
        owner = f"user:{tab.pk}"
        for order in self.truth.ordered:
            match order:
                case Evict(topic=topic, owners=owners) if kind is not None:
                    if topic.startswith(kind) and owner in (owners or ()):
                        return True
                case Disconnect(owner=whose) if whose == owner:
                    return True
                case EndSession(session=session) if session == fingerprint(tab.session):
                    return True
                case Recheck() if kind is not None and not self.truth.may(tab.pk, kind):
                    return True
                case Recheck() if tab.pk in self.truth.gone or tab.session in self.truth.ended:
                    return True
                case _:
                    pass
        return False

    def give(self, server: int, order: ControlCommand, change: Callable[[], None]) -> None:
        """Change the rights, and issue the command; with the open transaction if there is one."""
        control = self.servers[server].runtime.control
        if self.author.blocks:
            self.author.do(control.issue, order)
            self.pending.append((order, change))
        else:
            change()
            self.truth.ordered.append(order)
            self.author.do(control.issue, order)
        self.settle()

    def evict(self, server: int, pk: int, kind: str, for_good: bool) -> None:
        def change() -> None:
            if for_good:
                self.truth.rights.discard((pk, kind))

        self.give(server, Evict(topic=self.names[kind], owners=(f"user:{pk}",)), change)

    def ban(self, server: int, pk: int) -> None:
        self.give(server, Disconnect(owner=f"user:{pk}"), lambda: self.truth.gone.add(pk))

    def log_out(self, server: int, pk: int, number: int) -> None:
        session = self.session(pk, number)
        order = EndSession(owner=f"user:{pk}", session=fingerprint(session))
        self.give(server, order, lambda: self.truth.ended.add(session))

    def demote(self, server: int, pk: int, kind: str, how: str) -> None:
        orders = {
            "user": Recheck(owners=(f"user:{pk}",)),
            "topic": Recheck(topic=self.names[kind]),
            "route": Recheck(route=(Kept if kind == KEPT else Passing).route),
            "all": Recheck(),
        }
        self.give(server, orders[how], lambda: self.truth.rights.discard((pk, kind)))

    def grant(self, pk: int, kind: str) -> None:
        if not self.author.blocks:
            self.truth.rights.add((pk, kind))
            for server in self.servers:
                self.truth.effective.discard((server, f"user:{pk}", kind))

    def begin(self) -> None:
        """Open a transaction. On SQLite the first join would have to create the topic, and wait for the open transaction
        until its database's timeout of 20 seconds, so the topic exists by then."""
        if not self.author.blocks:
            if self.alias == "sqlite":
                self.other.do(self.fleet.log.heads, [self.names[KEPT]])
            self.author.begin(self.alias)

    def finish(self, how: str) -> None:
        if not self.author.blocks:
            return
        pending, self.pending = self.pending, []
        if how == "roll back":
            self.author.finish(well=False)
        else:
            for order, change in pending:
                change()
                self.truth.ordered.append(order)
            if how == "die":
                self.author.commit_and_die(self.alias)
            else:
                self.author.finish(well=True)
        self.settle()

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def session(self, pk: int, number: int) -> str:
        return f"{pk}-{number}"

    def connect(self, server: int, pk: int, number: int, late: bool) -> None:
        """Open a tab. A late one was authenticated before its user was gone or its session ended."""
        session = self.session(pk, number)
        if not late and (pk in self.truth.gone or session in self.truth.ended):
            return
        if len(self.tabs) < 8:
            self.run(self.open(server, pk, session))
            self.settle()

    async def open(self, server: int, pk: int, session: str) -> None:
        self.tabs.append(Tab(self, self.servers[server], pk, session))

    def act(self, which: int, do: Callable[[Tab], None]) -> None:
        async def now() -> None:
            do(self.tabs[which])

        if which < len(self.tabs) and self.tabs[which].closed is None:
            self.run(now())
            self.settle()

    def join(self, which: int, kind: str) -> None:
        topic = self.names[kind]
        self.act(which, lambda tab: tab.say(type="join", ref=1, topic=topic))

    def pause(self, which: int) -> None:
        self.act(which, lambda tab: tab.connection.paused())

    def read_on(self, which: int) -> None:
        self.act(which, lambda tab: tab.connection.resumed())

    def publish(self, server: int, kind: str) -> int:
        n = next(self.numbers)
        draft = Draft(topic=self.names[kind], name="said", payload=b'{"n":%d}' % n)
        if self.others_may_write():
            self.other.do(self.servers[server].runtime.publisher.publish, [draft], durable=kind == KEPT)
            self.settle()
        return n

    # ── misfortunes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def weather(self, mood: str) -> None:
        self.network.mood = mood

    def log_stalls(self, server: int) -> None:
        self.servers[server].log_threads.hold()  # type: ignore[call-arg]

    def log_answers(self, server: int) -> None:
        self.servers[server].log_threads.let_go()  # type: ignore[call-arg]
        self.settle()

    def compare(self, server: int) -> None:
        if self.others_may_write():
            hub = self.servers[server].runtime._hub
            assert hub is not None
            self.loop.create_task(hub.compare())
            self.settle()

    def others_may_write(self) -> bool:
        """SQLite has one writer, and this story does not wait."""
        return self.alias != "sqlite" or not self.author.blocks

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, work: Any) -> Any:
        result = self.loop.run_until_complete(work)
        if self.truth.broken:
            raise self.truth.broken[0]
        assert not self.errors, self.errors
        return result

    def settle(self) -> None:
        self.run(turns(12))

    def play(self, steps: list[Step]) -> None:
        try:
            for step, *draws in steps:
                if step is not None:
                    step(self, *draws)
            self.quiesce()
        finally:
            while self.author.blocks:
                self.author.finish(well=False)
            for server in self.servers:
                server.log_threads.let_go()  # type: ignore[call-arg]
                self.loop.run_until_complete(server.stop())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def quiesce(self) -> None:
        self.finish("roll back")
        self.network.mood = "fair"
        self.network.kept.clear()
        for server in self.servers:
            server.log_threads.let_go()  # type: ignore[call-arg]
        self.run(turns(40))
        self.author.do(self.let_the_unnumbered_grow_old)
        for number in range(len(self.servers)):
            self.compare(number)
        self.run(asyncio.sleep(0.5))
        for which in range(len(self.tabs)):
            self.read_on(which)
        before = {tab: len(tab.heard) for tab in self.tabs}
        told = {kind: [self.publish(server, kind) for server in (0, 1)] for kind in (KEPT, PASSING)}
        self.run(asyncio.sleep(0.5))
        for tab in self.tabs:
            last = tab.heard[before[tab] :]
            for kind, numbers in told.items():
                entitled = self.truth.may(tab.pk, kind) and tab.session not in self.truth.ended
                heard = [n for n in last if n in numbers]
                if not entitled and self.was_ordered(tab, kind):
                    assert not heard, f"{tab} still hears {kind}"
                if entitled and kind in tab.joined and not tab.put_out:
                    assert heard == numbers, f"{tab} hears {heard} of {numbers} on {kind}"

    def let_the_unnumbered_grow_old(self) -> None:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                f"UPDATE {OUTBOX} SET created_at = %s WHERE topic = %s", ["2020-01-01 00:00:00", TOPIC]
            )


TWO, TABS, KINDS, OFTEN = range(2), range(8), (KEPT, PASSING), (KEPT, KEPT, PASSING)

STEPS: Kinds = [
    (Story.connect, TWO, USERS, TWO, [False, False, True]),
    (Story.connect, TWO, USERS, TWO, [False]),
    (Story.join, TABS, OFTEN),
    (Story.join, TABS, OFTEN),
    (Story.join, TABS, OFTEN),
    (Story.publish, TWO, OFTEN),
    (Story.publish, TWO, OFTEN),
    (Story.evict, TWO, USERS, OFTEN, [True, True, False]),
    (Story.evict, TWO, USERS, OFTEN, [True]),
    (Story.ban, TWO, USERS),
    (Story.log_out, TWO, USERS, TWO),
    (Story.demote, TWO, USERS, KINDS, ["user", "topic", "route", "all"]),
    (Story.grant, USERS, KINDS),
    (Story.grant, USERS, KINDS),
    (Story.begin,),
    (Story.finish, ["commit", "commit", "roll back", "die"]),
    (Story.finish, ["commit"]),
    (Story.pause, TABS),
    (Story.read_on, TABS),
    (Story.weather, ["fair", "lose", "double", "delay", "mix"]),
    (Story.log_stalls, TWO),
    (Story.log_answers, TWO),
    (Story.log_answers, TWO),
    (Story.compare, TWO),
]
"""What may happen, and what is drawn for it."""


@pytest.fixture
def workers(database: str) -> Iterator[list[Worker]]:
    with working(4) as made:
        yield made


@pytest.mark.timeout(3600)
@settings(PROFILE)
@given(seed=st.integers(0, 2**16), steps=stories(STEPS, LENGTH))
def test_a_revoked_user_receives_nothing_more_and_no_other_user_is_affected(
    database: str, workers: list[Worker], seed: int, steps: list[Step]
) -> None:
    Story(database, workers, seed).play(steps)


@pytest.mark.timeout(3600)
def test_random_stories_keep_the_guarantee(database: str, workers: list[Worker]) -> None:
    for seed in seeds():
        tell(database, workers, seed)


def tell(database: str, workers: list[Worker], seed: int) -> None:
    Story(database, workers, seed).play(all_action(STEPS, LENGTH, seed))

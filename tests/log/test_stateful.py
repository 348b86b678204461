"""A log against a simple model of it, under sequences of operations that Hypothesis makes up.

The model knows which events are committed and in which order their writer wrote them; the log
has to hold exactly these, once each, in each writer's order, without a hole, for every reader however far behind.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
from django.db import connections, transaction
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.log.base import Batch, Entry, Trimmed
from holdfast.log.database import DatabaseLog
from holdfast.protocol.positions import Position
from tests.log.events import drafts

TOPICS = st.sampled_from(["a", "b", "c"])
SOME = st.lists(TOPICS, min_size=1, max_size=4)


@dataclass
class Reader:
    """A reader that follows a topic, and gets an error when the log no longer has its position."""

    topic: str
    position: Position
    seen: dict[int, int] = field(default_factory=dict)


class LogMachine(RuleBasedStateMachine):
    alias = "sqlite"
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.prefix = uuid4().hex
        self.log = DatabaseLog(self.alias)
        self.next_event = 0
        self.committed: dict[str, list[int]] = {name: [] for name in "abc"}
        """By topic, in the order in which its writer has to find them."""
        self.announced: dict[str, dict[int, int]] = {name: {} for name in "abc"}
        """By topic, offset and event: the events that callers were told were numbered."""
        self.trimmed: dict[str, int] = dict.fromkeys("abc", 0)
        self.open: list[Any] = []
        """The transaction and its savepoints: each an atomic block and the events published in it."""

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def topic(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def events(self, names: list[str]) -> list[tuple[str, int]]:
        made = [(name, self.next_event + n) for n, name in enumerate(names)]
        self.next_event += len(names)
        return made

    def drafts(self, events: list[tuple[str, int]]) -> list[Any]:
        return [draft for name, event in events for draft in drafts(self.topic(name), event)]

    def note(self, batches: list[Batch]) -> None:
        for batch in batches:
            told = self.announced[batch.topic.rpartition("/")[2]]
            for entry in batch.entries:
                assert entry.offset not in told, "announced twice"
                told[entry.offset] = int(entry.payload)

    def keep(self, events: list[tuple[str, int]]) -> None:
        for name, event in events:
            self.committed[name].append(event)

    # ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: not self.open)
    @rule(names=SOME)
    def append(self, names: list[str]) -> None:
        events = self.events(names)
        self.note(self.log.append(self.drafts(events)))
        self.keep(events)

    @precondition(lambda self: len(self.open) < 4)
    @rule()
    def begin(self) -> None:
        atomic = transaction.atomic(using=self.alias)
        atomic.__enter__()
        self.open.append((atomic, []))

    @precondition(lambda self: self.open)
    @rule(names=SOME)
    def stage(self, names: list[str]) -> None:
        events = self.events(names)
        self.log.stage(self.drafts(events), self.note)
        self.open[-1][1].extend(events)

    @precondition(lambda self: self.open)
    @rule()
    def commit(self) -> None:
        atomic, events = self.open.pop()
        if self.open:
            self.open[-1][1].extend(events)
        else:
            self.keep(events)
        atomic.__exit__(None, None, None)

    @precondition(lambda self: self.open)
    @rule()
    def roll_back(self) -> None:
        atomic, _ = self.open.pop()
        error = RuntimeError()
        atomic.__exit__(RuntimeError, error, None)

    @precondition(lambda self: len(self.open) == 1)
    @rule()
    def commit_and_crash(self) -> None:
        connections[self.alias].run_on_commit.clear()
        self.commit()

    @precondition(lambda self: not self.open)
    @rule()
    def sweep(self) -> None:
        self.note(self.log.sweep())

    @precondition(lambda self: not self.open)
    @rule(name=TOPICS)
    def sequence(self, name: str) -> None:
        self.note(self.log.sequence([self.topic(name)]))

    @precondition(lambda self: not self.open)
    @rule(name=TOPICS)
    def consistent_read(self, name: str) -> None:
        position, waiting = self.log.consistent_read(self.topic(name), lambda: self.waiting(name), self.note)
        assert waiting == 0
        assert position.offset == len(self.committed[name])

    # ── reading and trimming ─────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: not self.open)
    @rule(name=TOPICS, count=st.integers(0, 6))
    def trim(self, name: str, count: int) -> None:
        before = self.log.heads([self.topic(name)])[self.topic(name)]
        gone = self.log.trim(self.topic(name), count=count)
        assert gone == max(before.offset - before.floor - count, 0)
        self.trimmed[name] = before.floor + gone

    @precondition(lambda self: not self.open)
    @rule(target=readers, name=TOPICS)
    def join(self, name: str) -> Reader:
        return Reader(name, self.log.heads([self.topic(name)])[self.topic(name)].position)

    @precondition(lambda self: not self.open)
    @rule(reader=readers, limit=st.integers(1, 5))
    def read(self, reader: Reader, limit: int) -> None:
        try:
            entries = self.log.read(self.topic(reader.topic), reader.position, limit)
        except Trimmed as trimmed:
            head = trimmed.head
        else:
            self.follow(reader, entries)
            return
        assert reader.position.offset < self.trimmed[reader.topic] == head.floor
        reader.position = Position(epoch=head.epoch, offset=head.floor)

    def follow(self, reader: Reader, entries: list[Entry]) -> None:
        assert reader.position.offset >= self.trimmed[reader.topic]
        for entry in entries:
            assert entry.offset == reader.position.offset + 1
            reader.seen[entry.offset] = int(entry.payload)
            assert int(entry.payload) == self.committed[reader.topic][entry.offset - 1]
            reader.position = Position(epoch=reader.position.epoch, offset=entry.offset)

    # ── what always holds ────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self, name: str) -> int:
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM holdfast_outbox WHERE topic = %s", (self.topic(name),))
            count: int = cursor.fetchone()[0]
        return count

    @precondition(lambda self: not self.open)
    @invariant()
    def every_committed_event_is_there_once_and_in_order(self) -> None:
        heads = self.log.heads([self.topic(name) for name in "abc"])
        for name, committed in self.committed.items():
            head = heads[self.topic(name)]
            assert head.floor == self.trimmed[name]
            assert head.offset + self.waiting(name) == len(committed)
            entries = self.log.read(
                self.topic(name), Position(epoch=head.epoch, offset=head.floor), len(committed) + 1
            )
            assert [int(entry.payload) for entry in entries] == committed[head.floor : head.offset]
            assert self.announced[name] == dict(enumerate(committed[: head.offset], 1))

    def teardown(self) -> None:
        while self.open:
            self.roll_back()
        self.note(self.log.sweep())
        self.every_committed_event_is_there_once_and_in_order()
        for name in "abc":
            assert self.waiting(name) == 0


def test_the_log_agrees_with_its_model(database: str, grown_old: None) -> None:
    class Machine(LogMachine):
        alias = database

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""Check of delivery: every subscriber got every event of the log, once and in order.

The check does not rely on the position that a client reports. The events that it has got since its first ``joined`` of a
topic must be the log from there on, whatever happened to its connections.
"""

from collections.abc import Iterator

from ..records import Entry, Finished, Got, History, Joined, Left, Opened, Reset, Truth
from .case import Case, Kind, Violation


def delivery(case: Case) -> Iterator[Violation]:
    index = {topic: {entry.offset: entry for entry in log.entries} for topic, log in case.truth.logs.items()}
    for client, history in case.histories.items():
        yield from Follower(client, case.truth, index).follow(history)


class Course:
    """The events that one client has got of one durable topic."""

    def __init__(self, offset: int) -> None:
        self.first = self.next = offset + 1
        self.seen: set[int] = set()
        self.excused: set[int] = set()  # behind a reset, which is a violation of its own


class Follower:
    """Walks through one client's history."""

    def __init__(self, client: str, truth: Truth, index: dict[str, dict[int, Entry]]) -> None:
        self._client = client
        self._truth = truth
        self._index = index
        self._courses: dict[str, Course] = {}
        self._joined: set[str] = set()  # on the connection that is open
        self._passing: dict[
            tuple[str, str], int
        ] = {}  # the last number of each publisher of ephemeral events
        self._values = {value for _, value in truth.rows}

    def follow(self, history: list[History]) -> Iterator[Violation]:
        for record in history:
            match record:
                case Opened():
                    self._joined.clear()
                    self._passing.clear()
                case Joined():
                    yield from self._join(record)
                case Left():
                    self._joined.discard(record.topic)
                case Reset(reason="interrupted"):
                    pass  # an ephemeral topic may have missed something: that is its promise
                case Reset():
                    yield self._violation(
                        Kind.FALSE_ALARM, f"reset ({record.reason}) to {record.offset}", record
                    )
                    self._go_on_after(record.topic, record.offset)
                case Got(offset=None):
                    yield from self._pass(record)
                case Got():
                    yield from self._take(record)
                case Finished():
                    yield from self._end(record)
                case _:
                    pass

    def _violation(self, kind: Kind, what: str, record: Joined | Got | Reset) -> Violation:
        what = f"{what}, on connection {record.link}"
        return Violation(kind=kind, what=what, at=record.at, client=self._client, topic=record.topic)

    def _join(self, record: Joined) -> Iterator[Violation]:
        self._joined.add(record.topic)
        if record.offset is None:
            return
        log, course = self._truth.logs.get(record.topic), self._courses.get(record.topic)
        if log is None or record.offset > log.head or record.epoch != log.epoch:
            where = f"{log.epoch}:{log.head}" if log else "nowhere"
            yield self._violation(
                Kind.GHOST, f"joined at {record.epoch}:{record.offset}, and the log ends at {where}", record
            )
        if course is None:
            self._courses[record.topic] = Course(record.offset)
        elif not record.recovered:
            what = f"since {record.since} was not honoured, although everything is in the log; on from {record.offset}"
            yield self._violation(Kind.FALSE_ALARM, what, record)
            self._go_on_after(record.topic, record.offset)

    def _go_on_after(self, topic: str, offset: int | None) -> None:
        course = self._courses.get(topic)
        if course is not None and offset is not None:
            course.excused |= set(range(course.next, offset + 1))
            course.next = offset + 1

    def _take(self, record: Got) -> Iterator[Violation]:
        assert record.offset is not None
        offset, course = record.offset, self._courses.get(record.topic)
        if record.topic not in self._joined or course is None:
            yield self._violation(Kind.STRAY, f"{offset} came without having been joined", record)
            return
        entry = self._index.get(record.topic, {}).get(offset)
        if entry is None:
            yield self._violation(Kind.GHOST, f"{offset} ({record.value}) is not in the log", record)
            return
        if (entry.name, entry.value, entry.check) != (record.name, record.value, record.check):
            what = f"{offset} was {record.name} {record.value}, and the log has {entry.name} {entry.value}"
            yield self._violation(Kind.ALTERED, what, record)
        if entry.exclude == self._client:
            yield self._violation(Kind.STRAY, f"{offset} excludes this client", record)
        if offset in course.seen:
            yield self._violation(Kind.DOUBLED, f"{offset} ({record.value}) again", record)
        elif offset < course.next:
            yield self._violation(
                Kind.REORDERED, f"{offset} ({record.value}) after {course.next - 1}", record
            )
        course.seen.add(offset)
        course.next = max(course.next, offset + 1)

    def _pass(self, record: Got) -> Iterator[Violation]:
        """Ephemeral: on one connection at most once, in order of each publisher. A value is ``publisher:number``."""
        if record.topic not in self._joined:
            yield self._violation(Kind.STRAY, f"{record.value} came without having been joined", record)
        if record.value not in self._values:
            yield self._violation(Kind.GHOST, f"{record.value} was passed on and never committed", record)
        publisher, _, number = record.value.rpartition(":")
        key, last = (record.topic, publisher), self._passing.get((record.topic, publisher), -1)
        if int(number) == last:
            yield self._violation(Kind.DOUBLED, f"{record.value} again", record)
        elif int(number) < last:
            yield self._violation(Kind.REORDERED, f"{record.value} after {publisher}:{last}", record)
        self._passing[key] = max(last, int(number))

    def _end(self, record: Finished) -> Iterator[Violation]:
        for topic, course in self._courses.items():
            log = self._truth.logs[topic]
            missed = [
                entry
                for entry in log.entries
                if entry.offset >= course.first
                and entry.exclude != self._client
                and entry.offset not in course.seen
                and entry.offset not in course.excused
            ]
            if missed:
                shown = ", ".join(f"{entry.offset} ({entry.value})" for entry in missed[:3])
                more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
                what = f"{shown}{more} of {course.first}-{log.head} never came"
                yield Violation(kind=Kind.LOST, what=what, at=missed[0].at, client=self._client, topic=topic)
        for left in (*record.missing, *record.pending):
            yield Violation(
                kind=Kind.STRANDED, what=f"still waits for {left}", at=record.at, client=self._client
            )

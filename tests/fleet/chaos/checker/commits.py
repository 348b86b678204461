"""Check of commits: the log holds each committed event once, and no other event."""

from collections import Counter
from collections.abc import Iterator

from .case import Case, Kind, Violation

LOOSE = ("curtain", "shouted")
"""Events that are published outside of a transaction, so that no row of the application stands beside them."""


def commits(case: Case) -> Iterator[Violation]:
    yield from _the_log_is_well_formed(case)
    yield from _the_log_is_what_was_committed(case)
    yield from _writers_were_told_the_truth(case)


def _the_log_is_well_formed(case: Case) -> Iterator[Violation]:
    for topic, log in case.truth.logs.items():
        offsets = [entry.offset for entry in log.entries]
        if offsets != list(range(1, log.head + 1)):
            holes = sorted(set(range(1, log.head + 1)) - set(offsets))
            what = f"the head is {log.head}; {len(offsets)} entries; without an entry: {holes[:5]}"
            yield Violation(kind=Kind.LOST, what=what, topic=topic)
    if case.truth.waiting:
        what = f"{case.truth.waiting} committed events were not given an offset"
        yield Violation(kind=Kind.STRANDED, what=what)


def _the_log_is_what_was_committed(case: Case) -> Iterator[Violation]:
    rows = Counter(case.truth.rows)
    entries = Counter(
        (topic, entry.value)
        for topic, log in case.truth.logs.items()
        for entry in log.entries
        if entry.name not in LOOSE
    )
    passing = {(topic, value) for topic, value in rows if topic not in case.truth.logs}
    for (topic, value), count in (rows - entries).items():
        if (topic, value) not in passing and not case.truth.waiting:
            what = f"{value} was committed {count} times more than it stands in the log"
            yield Violation(kind=Kind.MISSING_COMMIT, what=what, topic=topic)
    for (topic, value), count in (entries - rows).items():
        kind = Kind.DOUBLED if (topic, value) in rows else Kind.GHOST
        what = f"{value} stands in the log {count} times more than it was committed"
        yield Violation(kind=kind, what=what, topic=topic)


def _writers_were_told_the_truth(case: Case) -> Iterator[Violation]:
    rows = set(case.truth.rows)
    outcomes = {(end.writer, end.number): end.outcome for end in case.ends}
    for attempt in case.tries:
        outcome = outcomes.get((attempt.writer, attempt.number), "unsure")
        there = [pair for pair in attempt.kept if tuple(pair) in rows]
        for topic, value in attempt.dropped:
            if (topic, value) in rows:
                yield Violation(
                    kind=Kind.GHOST, what=f"{value} was rolled back and is there", topic=topic, at=attempt.at
                )
        if outcome == "committed" and len(there) < len(attempt.kept):
            what = (
                f"{attempt.writer} was told that {attempt.number} had committed, and its rows are not there"
            )
            yield Violation(kind=Kind.MISSING_COMMIT, what=what, at=attempt.at)
        if outcome == "rolled back" and there:
            what = f"{attempt.writer} rolled {attempt.number} back, and rows of it are there"
            yield Violation(kind=Kind.GHOST, what=what, at=attempt.at)
        if 0 < len(there) < len(attempt.kept):
            what = f"{attempt.number} of {attempt.writer} is there in part"
            yield Violation(kind=Kind.GHOST, what=what, at=attempt.at)

"""Check of calls: each was carried out once, and its answer is true."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from ..records import Answered, Asked
from .case import Case, Kind, Violation

PASSING = frozenset({"unavailable", "rate_limited", "outcome_unknown", "timeout", "not_joined"})
"""Errors that do not say what became of the effect. ``not_joined`` does not either: it is said of an attempt before anybody
looks at its key, to a client that was put out or has come back and sends the call again."""


def calls(case: Case) -> Iterator[Violation]:
    effects = Counter(value for _, value in case.truth.rows)
    for log in case.truth.logs.values():
        effects.update(entry.value for entry in log.entries if entry.name == "shouted")
    for client, history in case.histories.items():
        asked: dict[str, Asked] = {}
        answers: defaultdict[str, list[Answered]] = defaultdict(list)
        for record in history:
            if isinstance(record, Asked):
                asked.setdefault(record.key, record)
            elif isinstance(record, Answered):
                answers[record.key].append(record)
        for key, call in asked.items():
            for kind, what in _one_call(call, answers[key], effects[call.value]):
                yield Violation(
                    kind=kind, what=f"{call.action} {key} {what}", at=call.at, client=client, topic=call.topic
                )


def _one_call(call: Asked, answers: list[Answered], effects: int) -> Iterator[tuple[Kind, str]]:
    if effects > 1:
        yield Kind.TWICE, f"had {effects} effects"
    certain = {(answer.code, answer.value) for answer in answers if answer.code not in PASSING}
    if len(certain) > 1:
        yield Kind.TWICE, f"was answered in different ways: {sorted(certain)}"
    for code, value in certain:
        if code and effects:
            yield Kind.TWICE, f"was answered with {code}, and had an effect"
        elif not code and not effects:
            yield Kind.UNDONE, "has a result, and had no effect"
        elif not code and value != call.value:
            yield Kind.TWICE, f"was answered with another call's result, {value}"

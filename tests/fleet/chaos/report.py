"""Report of a run for its readers: a line when it went well, and a timeline when it did not."""

from collections.abc import Iterator

from .checker import Violation
from .records import Injected, Record
from .run import Outcome

AROUND_SECONDS = 4.0
SHOWN = 5
"""Violations that are shown with what happened around them."""

LINES = 40


def line(outcome: Outcome) -> str:
    """One run in one line."""
    counts = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
    verdict = ", ".join(f"{count} {kind.value}" for kind, count in outcome.by_kind.items()) or "no violation"
    return f"seed {outcome.options.seed}: {verdict} ({counts})"


def timeline(outcome: Outcome) -> Iterator[str]:
    """The violations, the first of them with the faults and the client's own history around them."""
    for violation in outcome.violations[:30]:
        yield f"  {_time(outcome, violation.at)}  {violation}"
    if len(outcome.violations) > 30:
        yield f"  … and {len(outcome.violations) - 30} more"
    shown: set[tuple[object, str]] = set()
    for violation in outcome.violations:
        if (violation.kind, violation.client) not in shown and len(shown) < SHOWN:
            shown.add((violation.kind, violation.client))
            yield ""
            yield from _around(outcome, violation)
    yield ""
    yield f"  everything is in {outcome.directory}: schedule, faults, histories (*.jsonl), truth.json, logs"


def _around(outcome: Outcome, violation: Violation) -> Iterator[str]:
    yield f"  ── {violation}"
    at = violation.at
    if at is None:
        return
    near = [
        record
        for record in outcome.records
        if (record.at >= at - AROUND_SECONDS and _began(record) <= at + AROUND_SECONDS)
        and (isinstance(record, Injected) or getattr(record, "client", None) == violation.client)
        and getattr(record, "topic", violation.topic) in (violation.topic, "")
    ]
    near.sort(key=_began)
    if len(near) > LINES:
        middle = min(range(len(near)), key=lambda place: abs(near[place].at - at))
        near = near[max(middle - LINES // 2, 0) : middle + LINES // 2]
    for record in near:
        yield f"  {_time(outcome, _began(record))}  {_told(outcome, record)}"


def _began(record: Record) -> float:
    return record.began if isinstance(record, Injected) else record.at


def _told(outcome: Outcome, record: Record) -> str:
    if isinstance(record, Injected):
        until = f" until {_time(outcome, record.at).strip()}" if record.at - record.began > 0.05 else ""
        return f"FAULT {record.kind} {record.target}{until} {record.note}".rstrip()
    fields = {
        name: value
        for name in record.__struct_fields__
        if name not in ("at", "client", "check", "topic")
        and (value := getattr(record, name)) not in (None, "")
    }
    return (
        f"{type(record).__name__.lower():9} {' '.join(f'{name}={value}' for name, value in fields.items())}"
    )


def _time(outcome: Outcome, at: float | None) -> str:
    """Seconds since the schedule began."""
    return "       " if at is None else f"{at - outcome.began:7.2f}"

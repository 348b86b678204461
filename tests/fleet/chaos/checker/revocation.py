"""Check of revocations: nothing reached a user who had been shut out.

The time that counts is when an event was *published*, not when it arrived: a stalled link may still hold events from
before. No event may arrive that was published after the revocation must have reached the server: a short time after it was
made, and after the end of each fault that kept the log from that server, or the server from running.
"""

from collections.abc import Iterable, Iterator

import msgspec

from ..records import Closed, Got, Injected, Opened, Renewed, Revoked
from .case import Case, Kind, Violation


def revocation(case: Case) -> Iterator[Violation]:
    published = {
        (topic, entry.offset): entry.at for topic, log in case.truth.logs.items() for entry in log.entries
    }
    by_user: dict[str, list[Revoked]] = {}
    for revoked in case.revocations:
        by_user.setdefault(revoked.user, []).append(revoked)
    if by_user:
        for client, history in case.histories.items():
            opened: Opened | None = None
            for record in history:
                if isinstance(record, Opened):
                    opened = record
                elif isinstance(record, Renewed) and opened is not None:
                    opened = msgspec.structs.replace(opened, at=record.at)
                elif isinstance(record, Closed):
                    opened = None
                elif isinstance(record, Got) and record.offset is not None and opened is not None:
                    when = published.get((record.topic, record.offset))
                    if when is not None:
                        yield from _judge(case, by_user.get(opened.user, ()), client, opened, record, when)


def _judge(
    case: Case, revocations: Iterable[Revoked], client: str, opened: Opened, got: Got, published: float
) -> Iterator[Violation]:
    for revoked in revocations:
        if revoked.topic and revoked.topic != got.topic:
            continue
        if revoked.client and revoked.client != client:
            continue
        if not revoked.topic and opened.at > revoked.began:
            continue  # a new connection, which was let in again
        if got.at >= _readmitted(case, revoked):
            continue
        known = known_by(case, revoked.at, opened.server)
        if published > known:
            what = (
                f"{got.offset} ({got.value}) was published {published - revoked.at:.2f} s after the {revoked.act},"
                f" and delivered on connection {got.link} by server {opened.server}"
            )
            yield Violation(kind=Kind.AFTER_REVOCATION, what=what, at=got.at, client=client, topic=got.topic)


def _readmitted(case: Case, revoked: Revoked) -> float:
    """The earliest time at which the user was let in again."""
    times = [
        back.at
        for back in case.readmissions
        if back.user == revoked.user and back.topic == revoked.topic and back.at >= revoked.began
    ]
    return min(times, default=float("inf"))


def known_by(case: Case, revoked: float, server: int) -> float:
    """The time when a revocation must have reached a server: no fault kept it away any more, and then some time went by."""
    known = revoked + case.revocation_seconds
    moved = True
    while moved:
        moved = False
        for fault in case.faults:
            if _deafens(fault, server) and fault.began < known and fault.at + case.revocation_seconds > known:
                known, moved = fault.at + case.revocation_seconds, True
    return known


def _deafens(fault: Injected, server: int) -> bool:
    """Whether a fault keeps the log from a server, or the server from running. A negative number is one that is not known."""
    if server < 0:
        return fault.target.startswith(("server-", "postgres"))
    return fault.target in (f"server-{server}", f"postgres-{server}", "postgres")

"""Input of the checker, and the violations that it finds."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from ..records import Ended, History, Injected, Readmitted, Record, Revoked, Tried, Truth


class Kind(Enum):
    """A way to break a promise."""

    LOST = "lost"
    """An event of the log never reached a subscriber who was admitted."""

    DOUBLED = "doubled"
    """An event reached a subscriber twice, or stands in the log twice."""

    REORDERED = "reordered"
    """An event came after a later one."""

    GHOST = "ghost"
    """What was delivered, or stands in the log, was never committed."""

    ALTERED = "altered"
    """Another event was delivered than the one that the log has at that offset."""

    MISSING_COMMIT = "missing commit"
    """A transaction committed, and its event is not in the log."""

    FALSE_ALARM = "false alarm"
    """A client was told of a hole although the log is whole."""

    STRAY = "stray"
    """An event of a topic that this connection has not joined, or has left; or one that excludes this client."""

    TWICE = "carried out twice"
    """A call had two effects, two answers, or an effect and an error."""

    UNDONE = "answered but not done"
    """A call has a result and no effect."""

    AFTER_REVOCATION = "after revocation"
    """Something was delivered to a user who had been shut out."""

    PRESENCE = "presence contradiction"
    """The list of those who are here says what is not so."""

    STRANDED = "stranded"
    """When all was well again a client, a call or an event was still left hanging."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    kind: Kind
    what: str
    at: float | None = None
    client: str = ""
    topic: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.client, self.topic) if part)
        return f"{self.kind.value}: {where + ': ' if where else ''}{self.what}"


@dataclass(kw_only=True)
class Case:
    """Everything that is known of a run. ``users`` gives the user of each client."""

    truth: Truth
    histories: dict[str, list[History]] = field(default_factory=dict)
    tries: list[Tried] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    revocations: list[Revoked] = field(default_factory=list)
    readmissions: list[Readmitted] = field(default_factory=list)
    faults: list[Injected] = field(default_factory=list)
    revocation_seconds: float = 2.0
    """How long a revocation may take to reach a server from which neither the log nor the processor is kept away."""

    presence_topics: frozenset[str] = frozenset()
    presence_seconds: float = 7.0
    """How long lists may say what is not so after something went wrong: 1.5 leases, and then some."""

    silence_seconds: float = 14.0
    """How long a server may take a connection that is gone for a living one: 2.5 heartbeats, and then some."""

    slow: frozenset[str] = frozenset()
    """Clients that read so rarely that what they have seen is old."""

    @classmethod
    def of(cls, truth: Truth, records: Iterable[Record], **options: object) -> "Case":
        """Sort the records of a run. Each client's are in the order in which it wrote them."""
        case = cls(truth=truth, **options)  # type: ignore[arg-type]
        histories: defaultdict[str, list[History]] = defaultdict(list)
        for record in records:
            match record:
                case Tried():
                    case.tries.append(record)
                case Ended():
                    case.ends.append(record)
                case Revoked():
                    case.revocations.append(record)
                case Readmitted():
                    case.readmissions.append(record)
                case Injected():
                    case.faults.append(record)
                case _:
                    histories[record.client].append(record)
        case.histories = dict(histories)
        return case

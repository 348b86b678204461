"""Check of lists over time: no member was missing for longer than presence takes to heal, or listed although long gone.

A violation is reported only without an excuse: the server that holds the member, the server of the observer and Redis were
all well, during the whole time of the violation and for the time to heal before it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..records import Closed, Finished, History, Injected, Joined, Left, Opened, Presence
from .case import Case, Kind, Violation

Span = tuple[float, float]

EVERY_SERVER = set(range(100))


class Stay:
    """One client's membership of one topic on one connection, and what it was told of the others."""

    def __init__(self, client: str, user: str, server: int, topic: str, began: float) -> None:
        self.client, self.user, self.server, self.topic = client, user, server, topic
        self.began = self.ended = began
        self.lists: list[tuple[float, frozenset[str] | None]] = []

    def states(self) -> Iterator[tuple[Span, frozenset[str]]]:
        ends = [at for at, _ in self.lists[1:]] + [self.ended]
        for (began, members), ended in zip(self.lists, ends, strict=True):
            if members is not None:
                yield (began, ended), members


def lists(case: Case) -> Iterator[Violation]:
    if not case.presence_topics:
        return
    by_topic: defaultdict[str, list[Stay]] = defaultdict(list)
    for client, history in case.histories.items():
        for stay in _stays(client, history, case.presence_topics):
            by_topic[stay.topic].append(stay)
    for stays in by_topic.values():
        for observer in stays:
            if observer.client not in case.slow:
                yield from _missing(case, observer, stays)
                yield from _long_gone(case, observer, stays)


def _stays(client: str, history: list[History], topics: frozenset[str]) -> Iterator[Stay]:
    here: dict[str, Stay] = {}
    opened: Opened | None = None
    for record in history:
        match record:
            case Opened():
                opened = record
                yield from _end(here, record.at)
            case Closed() | Finished():
                yield from _end(here, record.at)
            case Left() if record.topic in here:
                yield from _end({record.topic: here.pop(record.topic)}, record.at)
            case Joined() if record.topic in topics and opened is not None:
                stay = here[record.topic] = Stay(client, opened.user, opened.server, record.topic, record.at)
                members = record.members
                stay.lists.append((record.at, None if members is None else frozenset(members)))
            case Presence() if record.topic in here:
                stay = here[record.topic]
                before = stay.lists[-1][1]
                if record.members is not None:
                    stay.lists.append((record.at, frozenset(record.members)))
                elif before is not None:
                    stay.lists.append((record.at, (before - set(record.left)) | set(record.joined)))
            case _:
                pass


def _end(here: dict[str, Stay], at: float) -> Iterator[Stay]:
    for stay in here.values():
        stay.ended = at
        yield stay
    here.clear()


def _missing(case: Case, observer: Stay, stays: list[Stay]) -> Iterator[Violation]:
    for member in stays:
        absent = _merged(span for span, members in observer.states() if member.user not in members)
        together = [_both(span, (member.began, member.ended)) for span in absent]
        excused = _troubles(case, {observer.server, member.server})
        for span in _without(together, excused):
            if span[1] - span[0] > case.presence_seconds:
                what = f"{member.user} is here and was not listed for {span[1] - span[0]:.1f} s"
                yield _violation(observer, span, what)


def _long_gone(case: Case, observer: Stay, stays: list[Stay]) -> Iterator[Violation]:
    listed: defaultdict[str, list[Span]] = defaultdict(list)
    for span, members in observer.states():
        for user in members:
            listed[user].append(span)
    for user, spans in listed.items():
        # A server may take a silent connection for a living one as long as heartbeats allow.
        held = [(s.began, s.ended + case.silence_seconds) for s in stays if s.user == user]
        for span in _without(_merged(spans), [*held, *_troubles(case, EVERY_SERVER)]):
            if span[1] - span[0] > case.presence_seconds:
                what = f"{user} is gone and was listed for another {span[1] - span[0]:.1f} s"
                yield _violation(observer, span, what)


def _violation(observer: Stay, span: Span, what: str) -> Violation:
    return Violation(kind=Kind.PRESENCE, what=what, at=span[1], client=observer.client, topic=observer.topic)


def _troubles(case: Case, servers: set[int]) -> list[Span]:
    """The spans when a fault kept these servers from running, from Redis or from their clients, each with the time to heal.

    A negative number is a server that is not known: it may be any of them.
    """
    if min(servers, default=0) < 0:
        servers = EVERY_SERVER
    names = {f"{part}-{number}" for number in servers for part in ("server", "redis", "web", "postgres")}
    names |= {"redis", "servers", "nginx", "postgres"}
    return [(fault.began, fault.at + case.presence_seconds) for fault in case.faults if _hits(fault, names)]


def _hits(fault: Injected, names: set[str]) -> bool:
    return fault.target in names


def _both(one: Span, other: Span) -> Span:
    return max(one[0], other[0]), min(one[1], other[1])


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for began, ended in spans:
        if merged and merged[-1][1] == began:
            merged[-1] = (merged[-1][0], ended)
        else:
            merged.append((began, ended))
    return merged


def _without(spans: Iterable[Span], holes: list[Span]) -> Iterator[Span]:
    """Subtract spans of time from others."""
    for began, ended in spans:
        at = began
        for hole in sorted(holes):
            if hole[0] < ended and hole[1] > at:
                if hole[0] > at:
                    yield at, hole[0]
                at = max(at, hole[1])
        if at < ended:
            yield at, ended

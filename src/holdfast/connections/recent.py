"""Recent revocations, for connections and joins that were under way when they came."""

from collections.abc import Iterator

from holdfast.control.commands import ControlCommand, Disconnect, EndSession, Evict, Recheck

EVERYONE = ""
EVERYWHERE = ""


class RecentCommands:
    """The last revocations, by owner and by scope. A revocation is kept for ``seconds``, and for twice that at most.

    A join notes the number of the newest revocation (:attr:`newest`) before it asks the topic's rule. At its end it asks
    again if :meth:`concern` finds a later one that may change the answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.newest = 0
        self._forgotten = 0  # number of the newest revocation that is no longer kept
        self._young: dict[tuple[str, str], int] = {}
        self._old: dict[tuple[str, str], int] = {}
        self._turned = float("-inf")
        self._newest_when_turned = 0

    def add(self, order: ControlCommand, now: float) -> None:
        self._turn(now)
        self.newest += 1
        for key in _keys(order):
            self._young[key] = self.newest

    def miss(self, now: float) -> None:
        """Act as if a revocation had come that concerns every owner, because unknown ones were missed."""
        self.add(Recheck(), now)

    def concern(self, owner: str, topic: str, route: str, since: int) -> bool:
        """Whether a revocation after number ``since`` concerns this owner and this topic."""
        if self.newest <= since:
            return False
        if since < self._forgotten:
            return True
        return any(
            self._number(some, scope) > since
            for some in (owner, EVERYONE)
            for scope in (topic, _of_route(route), EVERYWHERE)
        )

    def concern_owner(self, owner: str, since: int) -> bool:
        """Whether a revocation after number ``since`` concerns this owner in all topics."""
        return self.newest > since and (
            since < self._forgotten
            or self._number(owner, EVERYWHERE) > since
            or self._number(EVERYONE, EVERYWHERE) > since
        )

    def remember(self, owner: str, now: float) -> bool:
        """Whether a revocation that concerns this owner in all topics is still kept."""
        self._turn(now)
        return self.concern_owner(owner, self._forgotten)

    def ended(self, owner: str, session: str, now: float) -> bool:
        """Whether a revocation that ended this session (given by its fingerprint) is still kept."""
        self._turn(now)
        scope = _of_session(session)
        return self._number(owner, scope) > 0 or self._number(EVERYONE, scope) > 0

    def _number(self, owner: str, scope: str) -> int:
        key = (owner, scope)
        return self._young.get(key) or self._old.get(key, 0)

    def _turn(self, now: float) -> None:
        """Start a new generation when the current one is ``seconds`` old, and drop the one before it."""
        if now - self._turned < self._seconds:
            return
        if now - self._turned >= 2 * self._seconds:
            self._young = {}
            self._newest_when_turned = self.newest
        self._forgotten, self._newest_when_turned = self._newest_when_turned, self.newest
        self._old, self._young = self._young, {}
        self._turned = now


def _of_route(route: str) -> str:
    return f"!{route}"  # no topic has such a name


def _of_session(session: str) -> str:
    return f"!!{session}"  # no route begins like this


def _keys(order: ControlCommand) -> Iterator[tuple[str, str]]:
    """Return the owners and scopes that a revocation concerns."""
    match order:
        case Evict(owners=owners, topic=topic):
            for owner in owners or (EVERYONE,):
                yield owner, topic
        case Disconnect(owner=owner):
            yield owner, EVERYWHERE
        case EndSession(owner=owner, session=session):
            if owner is not None:
                yield owner, EVERYWHERE
            yield owner or EVERYONE, _of_session(session)
        case Recheck(owners=owners, topic=topic, route=route):
            scope = topic if topic is not None else _of_route(route) if route is not None else EVERYWHERE
            for owner in owners or (EVERYONE,):
                yield owner, scope

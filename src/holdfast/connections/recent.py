"""What was ordered a short while ago, for those who were being let in meanwhile."""

from collections.abc import Iterator

from holdfast.control.commands import ControlCommand, Disconnect, EndSession, Evict, Recheck

EVERYBODY = ""
EVERYWHERE = ""


class Recent:
    """The last orders, by whom and what they concern. An order is remembered for ``seconds``, and for twice that at most.

    A join notes the number of the newest order (:attr:`newest`) before the topic's rule is asked, and is asked again if
    by its end :meth:`concern` says that one has come since that may change the answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.newest = 0
        self._forgotten = 0  # the newest order that is not remembered any more
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
        """Orders were missed, nobody knows which: as if there had been one that concerns everybody."""
        self.add(Recheck(), now)

    def concern(self, owner: str, topic: str, route: str, since: int) -> bool:
        """Has anything been ordered after number ``since`` about this owner and this topic?"""
        if self.newest <= since:
            return False
        if since < self._forgotten:
            return True
        return any(
            self._number(whom, place) > since
            for whom in (owner, EVERYBODY)
            for place in (topic, _of_route(route), EVERYWHERE)
        )

    def concern_owner(self, owner: str, since: int) -> bool:
        """Has anything been ordered after number ``since`` about this owner, wherever that is?"""
        return self.newest > since and (
            since < self._forgotten
            or self._number(owner, EVERYWHERE) > since
            or self._number(EVERYBODY, EVERYWHERE) > since
        )

    def remember(self, owner: str, now: float) -> bool:
        """Is there an order about this owner, wherever that is, which is still remembered?"""
        self._turn(now)
        return self.concern_owner(owner, self._forgotten)

    def ended(self, owner: str, session: str, now: float) -> bool:
        """Is the order still remembered that ended this session, given by its fingerprint?"""
        self._turn(now)
        place = _of_session(session)
        return self._number(owner, place) > 0 or self._number(EVERYBODY, place) > 0

    def _number(self, owner: str, place: str) -> int:
        key = (owner, place)
        return self._young.get(key) or self._old.get(key, 0)

    def _turn(self, now: float) -> None:
        """Let the young grow old, and forget the old."""
        if now - self._turned < self._seconds:
            return
        if now - self._turned >= 2 * self._seconds:
            self._young = {}
            self._newest_when_turned = self.newest
        self._forgotten, self._newest_when_turned = self._newest_when_turned, self.newest
        self._old, self._young = self._young, {}
        self._turned = now


def _of_route(route: str) -> str:
    return f"!{route}"  # as no topic is called


def _of_session(session: str) -> str:
    return f"!!{session}"  # as no route begins


def _keys(order: ControlCommand) -> Iterator[tuple[str, str]]:
    """Whom an order concerns, and where."""
    match order:
        case Evict(owners=owners, topic=topic):
            for owner in owners or (EVERYBODY,):
                yield owner, topic
        case Disconnect(owner=owner):
            yield owner, EVERYWHERE
        case EndSession(owner=owner, session=session):
            if owner is not None:
                yield owner, EVERYWHERE
            yield owner or EVERYBODY, _of_session(session)
        case Recheck(owners=owners, topic=topic, route=route):
            place = topic if topic is not None else _of_route(route) if route is not None else EVERYWHERE
            for owner in owners or (EVERYBODY,):
                yield owner, place

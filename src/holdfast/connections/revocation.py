"""Carrying out on this process's connections what is ordered anywhere: evictions, disconnections, ends of sessions.

An order is carried out in one walk over the connections, so nothing has to be kept for it while there is none: no index,
and no more than a session's key for a connection.
"""

import hashlib
from collections.abc import Iterable, Sequence

from holdfast.hub.control import Disconnect, EndSession, Evict, Order, Recheck
from holdfast.hub.hub import Hub
from holdfast.protocol import codes

from .reauthorize import Reauthorization
from .recent import EVERYBODY, Recent
from .registry import ConnectionRegistry, RegisteredConnection


def fingerprint(session_key: str) -> str:
    """What stands for a session in an order: enough to recognize it, useless to whoever reads the log."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:32]


class Revocation:
    """The follower of a service's connections (:class:`holdfast.hub.control.Follower`). For the event loop.

    ``handshake_seconds``: how long after an order a connection may still come that was authenticated before it.
    ``fresh_seconds``: the same after the start of the hub, before which no orders were heard.
    """

    def __init__(
        self,
        connections: ConnectionRegistry,
        reauthorization: Reauthorization,
        *,
        handshake_seconds: float,
        fresh_seconds: float,
    ) -> None:
        self._connections = connections
        self._reauthorization = reauthorization
        self._fresh_seconds = fresh_seconds
        self._fresh_until = float("-inf")
        self._hub: Hub | None = None
        self.recent = Recent(handshake_seconds)

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, hub: Hub) -> None:
        self._hub = hub
        self._fresh_until = hub.loop.time() + self._fresh_seconds
        self._reauthorization.start(hub)

    def stop(self) -> None:
        self._hub = None
        self._reauthorization.stop()

    def started_before_anybody_came(self) -> None:
        """The server says that no handshake had begun when the hub was started."""
        self._fresh_until = float("-inf")

    def carry_out(self, orders: Sequence[Order]) -> None:
        if self._hub is None:
            return
        now = self._hub.loop.time()
        for order in orders:
            self.recent.add(order, now)
        concerned = _by_owner(orders)
        everybody = concerned.get(EVERYBODY, ())
        everyone = EVERYBODY in concerned
        for connection in tuple(self._connections) if everyone else self._connections.of_any(concerned):
            for order in (*everybody, *concerned.get(connection.owner, ())):
                self._carry_out(order, connection)

    def _carry_out(self, order: Order, connection: RegisteredConnection) -> None:
        match order:
            case Evict(topic=topic, owners=owners, reason=reason):
                connection.evict(topic, codes.EVICTED, reason)
                if owners is not None:
                    self._reauthorization.doubt_user(
                        connection
                    )  # whether he may come back is asked about him as he is now
            case Disconnect(gone=gone, reason=reason):
                connection.hang_up(codes.UNAUTHENTICATED if gone else codes.DISCONNECTED, reason=reason)
            case EndSession(session=session):
                key = connection.session_key
                if key is not None and connection.user_id is not None and fingerprint(key) == session:
                    connection.hang_up(codes.UNAUTHENTICATED)
            case Recheck(topic=None, route=None):
                self._reauthorization.doubt(connection)
            case Recheck(topic=topic, route=route):
                for place in connection.places():
                    if topic == place.topic.name or route == place.topic.declared.route.text:
                        self._reauthorization.doubt_place(connection, place)

    def start_over(self) -> None:
        if self._hub is None:
            return
        self.recent.miss(self._hub.loop.time())
        for connection in self._connections:
            self._reauthorization.doubt(connection)

    # ── those who are just coming in ─────────────────────────────────────────────────────────────────────────────────

    def registered(self, connection: RegisteredConnection, now: float) -> None:
        """A connection has begun. If it may have been authenticated before an order about its user, or before orders
        were heard at all, it is looked at again, and joins nothing until that is done (:meth:`settled`). If its session was
        ended by one, it is closed."""
        if connection.user_id is None or self._hub is None:
            return
        key = connection.session_key
        if key is not None and self.recent.ended(connection.owner, fingerprint(key), now):
            # Not asked: a logout is told of a moment before the session is deleted.
            self._hub.loop.call_soon(connection.hang_up, codes.UNAUTHENTICATED)
        elif now < self._fresh_until or self.recent.remember(connection.owner, now):
            self._reauthorization.doubt_user(connection)

    async def settled(self, connection: RegisteredConnection) -> None:
        """Return when there is no doubt any more about whose connection this is."""
        await self._reauthorization.settled(connection)


def _by_owner(orders: Iterable[Order]) -> dict[str, list[Order]]:
    """Orders by whom they concern; ``""`` is everybody."""
    concerned: dict[str, list[Order]] = {}
    for order in orders:
        match order:
            case Disconnect(owner=owner) | EndSession(owner=owner):
                owners: tuple[str, ...] = (EVERYBODY if owner is None else owner,)
            case Evict(owners=some) | Recheck(owners=some):
                owners = (EVERYBODY,) if some is None else some
            case _:
                continue
        for owner in owners:
            concerned.setdefault(owner, []).append(order)
    return concerned

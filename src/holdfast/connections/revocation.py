"""Revocation: applies evictions, disconnects, session ends and re-checks of any process to this process's connections.

Revocations of users find their connections by the registry. All others take one walk over the connections, so nothing is
kept for them between two revocations, except a session's key for each connection.
"""

import hashlib
from collections.abc import Iterable, Sequence

from holdfast.control.commands import ControlCommand, Disconnect, EndSession, Evict, Recheck
from holdfast.hub.hub import Hub
from holdfast.protocol import codes

from .reauthorize import Reauthorization
from .recent import EVERYONE, RecentCommands
from .registry import ConnectionRegistry, RegisteredConnection


def fingerprint(session_key: str) -> str:
    """Return the hash that names a session in a revocation. It identifies the session, and is useless to a reader of the log."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:32]


class Revocation:
    """Follower of the control topic for one process's connections (:class:`holdfast.control.control.CommandHandler`). For the event
    loop.

    ``handshake_seconds``: time after a revocation in which a connection that was authenticated before it may still arrive.
    ``fresh_seconds``: the same time after the start of the hub, which received no revocations before.
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
        self.recent = RecentCommands(handshake_seconds)

    # ── the follower's interface ────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, hub: Hub) -> None:
        self._hub = hub
        self._fresh_until = hub.loop.time() + self._fresh_seconds
        self._reauthorization.start(hub)

    def stop(self) -> None:
        self._hub = None
        self._reauthorization.stop()

    def started_before_anybody_came(self) -> None:
        """Take the server's word that no handshake had begun when the hub started."""
        self._fresh_until = float("-inf")

    def carry_out(self, orders: Sequence[ControlCommand]) -> None:
        if self._hub is None:
            return
        now = self._hub.loop.time()
        for order in orders:
            self.recent.add(order, now)
        concerned = _by_owner(orders)
        general = concerned.get(EVERYONE, ())
        for connection in tuple(self._connections) if general else self._connections.of_any(concerned):
            for order in (*general, *concerned.get(connection.owner, ())):
                self._carry_out(order, connection)

    def _carry_out(self, order: ControlCommand, connection: RegisteredConnection) -> None:
        match order:
            case Evict(topic=topic, owners=owners, reason=reason):
                connection.evict(topic, codes.EVICTED, reason)
                if owners is not None:
                    # If the client joins again, the rule must see the user as they are now.
                    self._reauthorization.doubt_user(connection)
            case Disconnect(gone=gone, reason=reason):
                connection.hang_up(codes.UNAUTHENTICATED if gone else codes.DISCONNECTED, reason=reason)
            case EndSession(session=session):
                key = connection.identity.session_key
                if key is not None and connection.user_id is not None and fingerprint(key) == session:
                    connection.hang_up(codes.UNAUTHENTICATED)
            case Recheck(topic=None, route=None):
                self._reauthorization.doubt(connection)
            case Recheck(topic=topic, route=route):
                for joined in connection.joined_topics():
                    if topic == joined.topic.name or route == joined.topic.declared.route.text:
                        self._reauthorization.doubt_topic(connection, joined)

    def start_over(self) -> None:
        if self._hub is None:
            return
        self.recent.miss(self._hub.loop.time())
        for connection in self._connections:
            self._reauthorization.doubt(connection)

    # ── connections that begin ─────────────────────────────────────────────────────────────────────────────────

    def registered(self, connection: RegisteredConnection, now: float) -> None:
        """Check a connection that has begun. If a revocation ended its session, it is closed. If it may have been
        authenticated before a revocation about its user, or before the hub received any revocations, its user is
        re-checked, and it joins nothing until that is done (:meth:`Reauthorization.settled`)."""
        if connection.user_id is None or self._hub is None:
            return
        key = connection.identity.session_key
        if key is not None and self.recent.ended(connection.owner, fingerprint(key), now):
            # No re-check: the revocation of a logout comes a moment before the session is deleted.
            self._hub.loop.call_soon(connection.hang_up, codes.UNAUTHENTICATED)
        elif now < self._fresh_until or self.recent.remember(connection.owner, now):
            self._reauthorization.doubt_user(connection)


def _by_owner(orders: Iterable[ControlCommand]) -> dict[str, list[ControlCommand]]:
    """Group revocations by the owner that they concern; ``""`` stands for every owner."""
    concerned: dict[str, list[ControlCommand]] = {}
    for order in orders:
        match order:
            case Disconnect(owner=owner) | EndSession(owner=owner):
                owners: tuple[str, ...] = (EVERYONE if owner is None else owner,)
            case Evict(owners=some) | Recheck(owners=some):
                owners = (EVERYONE,) if some is None else some
            case _:
                continue
        for owner in owners:
            concerned.setdefault(owner, []).append(order)
    return concerned

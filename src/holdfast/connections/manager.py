"""Connection manager: the parts that all connections of a process share."""

import random
from collections.abc import Callable

import msgspec

from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.limits.base import Limiter, Rate
from holdfast.limits.shared import SharedCounts, SharedLimiter
from holdfast.protocol.limits import Limits
from holdfast.runtime import Runtime
from holdfast.topics.registry import Registry

from .boundary import Boundary, BoundaryPolicy
from .calls import Calls
from .explaining import Explanations
from .pacing import ReconnectPace, ReconnectSlots
from .read_rate import ReadRate
from .reauthorize import Reauthorization
from .registry import ConnectionRegistry
from .revocation import Revocation
from .stored_answers import AnswerLimits
from .unfinished import CallLimits

Share = Callable[[Boundary], SharedCounts]
"""Makes the counts that a boundary shares with those of other processes."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and times of connections.

    ``recheck_seconds``: time after which a call asks ``may_join`` again for a user who was admitted before.
    ``stall_seconds``: time without reading after which the server closes a client. ``write_buffer_bytes``: bytes that may
    wait for such a client. ``drain_seconds``: time over which a stopping server spreads its clients' reconnects.

    ``reauthorize_seconds``: period in which users, sessions and rules are re-checked for connections that stay; 0 turns
    that off. ``calls`` bounds unfinished calls, ``answers`` stored answers, ``join_reads`` the reads that the joins of one owner
    may cause. ``handshake_seconds``: time after a revocation in which a connection that was authenticated before it may
    still begin. ``fresh_seconds``: the same time after the start of the hub.
    """

    limits: Limits = Limits()
    boundary: BoundaryPolicy = BoundaryPolicy()
    recheck_seconds: float = 1.0
    stall_seconds: float = 30.0
    write_buffer_bytes: int = 262_144
    drain_seconds: float = 20.0
    reauthorize_seconds: float = 300.0
    calls: CallLimits = CallLimits()
    answers: AnswerLimits = AnswerLimits()
    handshake_seconds: float = 60.0
    fresh_seconds: float = 0.0
    join_reads: Rate = Rate(count=300, seconds=10)


class ConnectionManager:
    """Builds and holds what the connections of one process share."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        registry: Registry,
        limiter: Limiter,
        policy: Policy | None = None,
        authenticator: Authenticator,
        shared: Share | None = None,
    ) -> None:
        self.runtime = runtime
        self.registry = registry
        self.policy = policy or Policy()
        self.authenticator = authenticator
        self.connections = ConnectionRegistry()
        self.boundary = Boundary(self.policy.boundary, self.policy.limits, self.connections, runtime.counters)
        self.limiter = limiter
        if shared is not None:
            counts = shared(self.boundary)
            self.boundary.share(counts)
            self.limiter = SharedLimiter(counts)
        self.calls = Calls(
            runtime.log.calls,
            runtime.threads,
            runtime.log_threads,
            self.limiter,
            self.policy.calls,
            self.policy.answers,
        )
        self.reads = ReadRate(limiter, self.policy.join_reads)  # they load this process, so it counts its own
        self.explanations = Explanations(registry)
        self._reconnect_slots: ReconnectSlots | None = None
        self.reauthorization = Reauthorization(
            self.connections, runtime.threads, authenticator, period=self.policy.reauthorize_seconds
        )
        self.revocation = Revocation(
            self.connections,
            self.reauthorization,
            handshake_seconds=self.policy.handshake_seconds,
            fresh_seconds=self.policy.fresh_seconds,
        )
        runtime.control.attach(self.revocation)
        runtime.when_leaving = self.leave

    def leave(self) -> None:
        """Close the connections that a server which stops would wait for: event streams on most servers, and polls."""
        for connection in tuple(self.connections):
            if not connection.closed_by_server:
                connection.shut_down()

    def turn(self, now: float) -> float:
        """Return the seconds that one more client waits before it reconnects, when the server stops without time for
        draining."""
        if self._reconnect_slots is None:
            self._reconnect_slots = ReconnectSlots(
                ReconnectPace.of(len(self.connections), self.policy.drain_seconds), now
            )
        return self._reconnect_slots.after(now, random.random())  # noqa: S311 - nothing secret depends on it

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        """Authenticate a token. Repeat that if a command about its user has arrived since. Raises what the authenticator
        raises."""
        recent = self.revocation.recent
        while True:
            begun = recent.newest
            identity = await self.authenticator.authenticate(request)
            owner = None if identity is None else identity.owner
            if owner is None or not recent.concern_owner(owner, begun):
                return identity

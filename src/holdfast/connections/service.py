"""What all connections of a process share."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from holdfast.hub.runtime import Runtime
from holdfast.limits.base import Limiter
from holdfast.session.session import Limits
from holdfast.topics.owner import owner_of_key
from holdfast.topics.registry import Registry

from .caller import user_id
from .calls import Calls
from .explaining import Explanations
from .pacing import Farewell, Pace
from .reauthorize import Identify, Reauthorization, believe
from .revocation import Revocation

Authenticate = Callable[[str, str | None], Awaitable[Any]]
"""Finds the user of a token that came to a host; ``None`` if the token is not valid."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What connections are held to.

    ``recheck_seconds``: for how long a user who was admitted to a topic is trusted before a call asks again.
    ``stall_seconds``: how long a client may not read before it is closed. ``write_buffer_bytes``: how much may wait
    for such a client. ``drain_seconds``: over how long the connections of a server that stops are spread.

    ``reauthorize_seconds``: how often users, sessions and rules are asked again about whoever stays; 0: never.
    ``handshake_seconds``: how long after an order to leave a connection may still begin that was authenticated before
    it; ``fresh_seconds``: the same after the start of the hub.
    """

    limits: Limits = Limits()
    recheck_seconds: float = 1.0
    stall_seconds: float = 30.0
    write_buffer_bytes: int = 262_144
    drain_seconds: float = 20.0
    reauthorize_seconds: float = 300.0
    handshake_seconds: float = 60.0
    fresh_seconds: float = 0.0


class Service:
    """The parts that connections are made with."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        registry: Registry,
        limiter: Limiter,
        policy: Policy | None = None,
        authenticate: Authenticate | None = None,
        identify: Identify = believe,
    ) -> None:
        self.runtime = runtime
        self.registry = registry
        self.policy = policy or Policy()
        self.authenticate = authenticate
        self.calls = Calls(runtime.log.calls, runtime.threads, runtime.log_threads, limiter)
        self.connections: set[Any] = set()
        self.explanations = Explanations(registry)
        self._farewell: Farewell | None = None
        self.revocation = Revocation(
            self.connections,
            Reauthorization(
                self.connections, runtime.threads, identify, period=self.policy.reauthorize_seconds
            ),
            handshake_seconds=self.policy.handshake_seconds,
            fresh_seconds=self.policy.fresh_seconds,
        )
        runtime.control.attach(self.revocation)

    def turn(self, now: float) -> float:
        """When the server stops and leaves no time for draining: how long one more client is to wait before it comes
        back, in seconds."""
        if self._farewell is None:
            self._farewell = Farewell(Pace.of(len(self.connections), self.policy.drain_seconds), now)
        return self._farewell.after(now, random.random())  # noqa: S311 - nothing secret depends on it

    async def user_of(self, token: str, host: str | None = None) -> Any:
        """Whose a token is, ``None`` if nobody's. Asked again if something was ordered about that user meanwhile. Raises what
        the project's function raises."""
        recent = self.revocation.recent
        while self.authenticate is not None:
            begun = recent.newest
            user = await self.authenticate(token, host)
            found = user_id(user)
            if found is None or not recent.concern_owner(owner_of_key(found), begun):
                return user
        return None

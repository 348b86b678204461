"""What all connections of a process share."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from holdfast.hub.runtime import Runtime
from holdfast.limits.base import Limiter
from holdfast.session.session import Limits
from holdfast.topics.registry import Registry

from .calls import Calls

Authenticate = Callable[[str], Awaitable[Any]]
"""Finds the user whom a token belongs to; ``None`` if nobody."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What connections are held to.

    ``recheck_seconds``: for how long a user who was admitted to a topic is trusted before a call asks again.
    ``stall_seconds``: how long a client may not read before it is closed. ``write_buffer_bytes``: how much may wait
    for such a client.
    """

    limits: Limits = Limits()
    recheck_seconds: float = 1.0
    stall_seconds: float = 30.0
    write_buffer_bytes: int = 262_144


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
    ) -> None:
        self.runtime = runtime
        self.registry = registry
        self.policy = policy or Policy()
        self.authenticate = authenticate
        self.calls = Calls(runtime.log, runtime.threads, runtime.log_threads, limiter)
        self.connections: set[Any] = set()

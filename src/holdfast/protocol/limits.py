"""The limits of one connection."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one connection. ``heartbeat`` is in seconds; ``burst``, ``byte_burst`` and ``join_burst`` are how many messages,
    bytes and joins may arrive at once. ``hello_seconds`` is the time in which the client has to send its first message."""

    message_bytes: int = 65536
    topics: int = 100
    calls: int = 32
    messages_per_second: float = 50.0
    burst: float = 100.0
    bytes_per_second: float = 262_144.0
    byte_burst: float = 2_097_152.0
    joins_per_second: float = 20.0
    join_burst: float = 100.0
    heartbeat: float = 25.0
    hello_seconds: float = 10.0

"""The limits of one connection."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one connection. ``heartbeat`` is in seconds; ``burst`` is how many messages may arrive at once."""

    message_bytes: int = 65536
    topics: int = 100
    calls: int = 32
    messages_per_second: float = 50.0
    burst: float = 100.0
    heartbeat: float = 25.0

"""Counters and gauges of one process, for monitoring. Needs no other package.

A room raises a counter where the thing happens: ``counters.events_dropped += 1``. The object is handed down from
:mod:`holdfast.wiring` through the runtime to the hub, so that a test with several hubs reads the counters of each. All
counters are raised in the thread of the hub's event loop. A value that another object keeps anyway is read from there
(:func:`watch`), at no cost while nothing asks for it.
"""

import os
from collections import Counter
from collections.abc import Callable, Sized
from functools import partial

import msgspec


class Counters(msgspec.Struct):
    """What has happened since the process started. Counters only grow."""

    events_delivered: int = 0
    """Events written to connections: one event with 1,000 subscribers counts 1,000."""

    events_dropped: int = 0
    """Events that one subscriber did not receive, because it read too slowly. Counted for each subscriber."""

    events_conflated: int = 0
    """Events that waited for a slow subscriber and were replaced by a newer one (``Slow.conflate``). Counted for each."""

    events_superseded: int = 0
    """Events left out by the ``rate`` of a topic. Counted once, however many subscribers there are."""

    subscribers_fell_behind: int = 0
    """How often a slow subscriber of a durable topic stopped receiving live events and was served from the log."""

    connections_overflowed: int = 0
    """Connections closed because too many events waited for them (``Slow.disconnect``)."""

    connections_stalled: int = 0
    """Connections closed because the client read nothing for ``STALL_SECONDS``, or because not even answers fitted."""

    messages_limited: int = 0
    """Messages refused because they came too fast, or were too many bytes (``MESSAGE_RATE``, ``BYTE_RATE``)."""

    joins_limited: int = 0
    """Joins refused because they came too fast (``JOIN_RATE``)."""

    connections_slowed: int = 0
    """How often the server stopped reading from a client for a second, because it kept exceeding its limits."""

    connections_flooded: int = 0
    """Connections closed with ``flooding``."""

    connections_refused: int = 0
    """Connections refused because their user or address had too many (``CONNECTIONS_PER_USER``, ``CONNECTIONS_PER_ADDRESS``)."""

    handshakes_refused: int = 0
    """Handshakes refused because they came too fast (``HANDSHAKE_RATE``, ``HANDSHAKES_PER_ADDRESS``)."""

    tokens_limited: int = 0
    """Tokens refused without a look, because too many tokens of that address were not valid (``FAILED_TOKENS``)."""


PROCESS = Counters()
"""The counters of this process. Its runtime raises them."""

TRANSPORTS = ("websocket", "sse", "polling")
"""What carries connections, by the names in ``connections_websocket`` and its like."""

GAUGES = frozenset(
    {
        "connections",
        *(f"connections_{name}" for name in TRANSPORTS),
        "calls_running",
        "revocations_waiting",
    }
)
"""The names in a :func:`snapshot` that go up and down. All others are counters."""

_watched: dict[str, Callable[[], int]] = {}


def watch(name: str, read: Callable[[], int]) -> None:
    """Let :func:`snapshot` read a value from the object that keeps it. The last one of a name counts."""
    _watched[name] = read


def watch_connections(connections: Sized, by_transport: Counter[str]) -> None:
    """Let :func:`snapshot` read how many connections are open, and what carries them."""
    watch("connections", lambda: len(connections))
    for name in TRANSPORTS:
        watch(f"connections_{name}", partial(by_transport.__getitem__, name))


def snapshot() -> dict[str, int]:
    """Return all counters and gauges of this process, by name.

    Besides the fields of :class:`Counters` these are, once the process has served or published:

    - ``connections``: live connections that are open; ``connections_websocket``, ``connections_sse`` and
      ``connections_polling`` divide them by what carries them
    - ``calls_running``: calls whose handler has not finished
    - ``revocations_waiting``: revocations that could not be written to the log yet and are retried
    - ``backplane_lost``: messages to other processes that were lost
    - ``log_reads``: reads of the log for subscribers that were behind, and to fill gaps
    - ``roster_reads``: member lists read from the presence store

    ``GAUGES`` names those that go up and down. May be called in any thread, and reads no database.
    """
    return msgspec.structs.asdict(PROCESS) | {name: read() for name, read in tuple(_watched.items())}


def _forget() -> None:
    """Start a forked child at zero, without the objects of its parent."""
    _watched.clear()
    for name in PROCESS.__struct_fields__:
        setattr(PROCESS, name, 0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

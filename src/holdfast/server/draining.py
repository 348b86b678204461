"""Hands the connections of a stopping server off to other servers, a few at a time. No I/O, no clock: ``now`` is an argument."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from holdfast.connections.pacing import ReconnectPace

TICK_SECONDS = 0.1
"""Seconds between calls of :meth:`Drain.tick`. A client waits a little longer than this before it reconnects."""


class Drainable(Protocol):
    """A connection that can be handed off."""

    @property
    def drainable(self) -> bool:
        """Is it open, and not yet closed by :meth:`drain`?"""

    @property
    def busy(self) -> bool:
        """Is a call of it running? Such a connection may stay a little longer."""

    def drain(self, after: float) -> None:
        """Say goodbye and close. The client is to reconnect after ``after`` seconds."""


class Drain:
    """The draining of one server.

    Over ``seconds``, each connection is closed a moment before the slot in which its client is to reconnect
    (:class:`~holdfast.connections.pacing.ReconnectPace`), and its client is given that slot. A client is thus without a connection only
    for a moment, and the other servers see an even stream of clients. A connection with running calls swaps places with later
    ones, for at most ``patience`` seconds or as long as there are others. Clients that connect during the drain come last.
    """

    def __init__(
        self,
        connections: Callable[[], Iterable[Drainable]],
        *,
        seconds: float,
        patience: float,
        now: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connections = connections
        self._waiting = self._found()
        self._pace = ReconnectPace.of(len(self._waiting), seconds)
        self._patient_until = now + max(len(self._waiting) / self._pace.per_second, patience)
        self._began = now
        self._next = 0
        self._chance = chance

    @property
    def per_second(self) -> float:
        """Connections that are handed off per second, as planned."""
        return self._pace.per_second

    @property
    def count(self) -> int:
        """Connections that are known to be left."""
        return len(self._waiting)

    def tick(self, now: float) -> bool:
        """Close the connections whose slots begin before the next tick. Return whether none is left."""
        elapsed = now - self._began
        first, end = self._pace.slot(elapsed), self._pace.slot(elapsed + TICK_SECONDS) + 1
        # Slots are missed if the loop is late or all connections are busy. They are not made up for: that would be a burst.
        self._next = max(self._next, first)
        impatient = now >= self._patient_until
        if not self._waiting:
            self._waiting = self._found()
        for _ in range(len(self._waiting)):
            if self._next >= end:
                return False
            connection = self._waiting.popleft()
            if connection.busy and connection.drainable and not impatient:
                self._waiting.append(connection)
            elif connection.drainable:
                self._close(connection, now)
        return not self._waiting and not self._found()

    def hurry(self, now: float) -> None:
        """Close all remaining connections at once. Their clients still reconnect one after another."""
        for connection in self._found():
            self._close(connection, now)
        self._waiting.clear()

    def _close(self, connection: Drainable, now: float) -> None:
        back = self._pace.returns(self._next, self._chance())
        self._next += 1
        connection.drain(max(0.0, back - (now - self._began)))

    def _found(self) -> deque[Drainable]:
        return deque(connection for connection in self._connections() if connection.drainable)

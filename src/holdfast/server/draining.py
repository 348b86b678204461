"""Handing a server's connections off to other servers, a few at a time. Without I/O and clock: ``now`` is an argument."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from holdfast.connections.pacing import ReconnectPace

TICK_SECONDS = 0.1
"""How often :meth:`Drain.tick` is to be called. A client so waits a little more than this before it comes back."""


class Drainable(Protocol):
    """One connection that is to go elsewhere."""

    @property
    def drainable(self) -> bool:
        """Is it open, and not told yet?"""

    @property
    def busy(self) -> bool:
        """Does it wait for the answer to a call? Then it may stay a little."""

    def drain(self, after: float) -> None:
        """Say goodbye, and close. The client is to come back after so many seconds."""


class Drain:
    """One server's draining.

    Over ``seconds`` each connection is closed a moment before the slot in which its client is to come back
    (:class:`~holdfast.connections.pacing.ReconnectPace`), and told to wait for it. So a client is without a connection for a moment
    only, and the other servers see an even stream of them. Connections with calls under way change places with later
    ones, for at most ``patience`` seconds or as long as there are others. Who connects meanwhile comes last.
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
        """How many connections are handed off in a second, as planned."""
        return self._pace.per_second

    @property
    def count(self) -> int:
        """How many are known to be left."""
        return len(self._waiting)

    def tick(self, now: float) -> bool:
        """Tell those whose slots begin before the next tick; say whether there is nobody left to be told."""
        elapsed = now - self._began
        first, end = self._pace.slot(elapsed), self._pace.slot(elapsed + TICK_SECONDS) + 1
        # Slots that were missed, because the loop was late or everybody busy, are not made up for: that would be a burst.
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
                self._tell(connection, now)
        return not self._waiting and not self._found()

    def hurry(self, now: float) -> None:
        """Tell all that are left at once. Their clients still come back one after another."""
        for connection in self._found():
            self._tell(connection, now)
        self._waiting.clear()

    def _tell(self, connection: Drainable, now: float) -> None:
        back = self._pace.returns(self._next, self._chance())
        self._next += 1
        connection.drain(max(0.0, back - (now - self._began)))

    def _found(self) -> deque[Drainable]:
        return deque(connection for connection in self._connections() if connection.drainable)

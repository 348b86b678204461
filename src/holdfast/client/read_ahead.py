"""Read-ahead of a client: the events that the application has not taken yet, and whether the client reads on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

WAITING = 1000
"""Items of one topic that wait for the application. With more, the client stops reading from its connection, unless the application
awaits an answer."""

HELD = 10 * WAITING
"""Items of one topic that the client keeps while the application awaits an answer. The client drops what comes after them, and asks
the server for it again when the application has taken all but :data:`WAITING`."""


class ReadAhead:
    """The topics with too many items, and the number of answers that the application awaits.

    Answers come behind events on the same connection. A loop that makes a call for each event takes no events while it awaits the
    answer. A client that stopped reading in that time would never read the answer.
    """

    def __init__(self) -> None:
        self._full: set[str] = set()
        self._awaited = 0
        self._changed = asyncio.Event()

    @property
    def paused(self) -> bool:
        """Whether the client reads nothing at present."""
        return bool(self._full) and not self._awaited

    def note(self, topic: str, waiting: int) -> None:
        """Note how many items of a topic wait for the application."""
        if waiting > WAITING:
            self._full.add(topic)
        elif topic in self._full:
            self._full.remove(topic)
            self._changed.set()

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """Read on within this block: the application awaits an answer."""
        self._awaited += 1
        self._changed.set()
        try:
            yield
        finally:
            self._awaited -= 1

    async def wait(self) -> None:
        """Wait until the client reads on."""
        while self.paused:
            self._changed.clear()
            await self._changed.wait()

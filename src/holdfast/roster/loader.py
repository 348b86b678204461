"""Reading the lists of members that a hub's copies cannot be brought up to date without."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from holdfast.presence.base import PresenceStore, PresenceUnavailable

from .local import Room
from .replica import Mirror

logger = logging.getLogger("holdfast.presence")

PATIENCE_SECONDS = 0.02
"""How long changes may overtake one another before the list is read."""

LISTS_AT_ONCE = 100


class Lists:
    """Reads lists, all that are wanted at once in one round trip, and one round trip at a time.

    ``read`` is called with a room whose list was read and agrees with all that is known of it; ``complain`` with the error
    when the store did not answer.
    """

    def __init__(
        self,
        store: PresenceStore,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        read: Callable[[Room], None],
        complain: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._done = read
        self._complain = complain
        self._wanted: dict[str, Room] = {}
        self._reading = False
        self.reads = 0

    def read_soon(self, room: Room, seconds: float) -> None:
        """Read a list: after so many seconds if it still has to be, or at once if they are 0."""
        if room.reading:
            return
        room.reading = True
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._read_if_needed, room, room.mirror)
        else:
            self._read_now(room)

    def _read_if_needed(self, room: Room, mirror: Mirror) -> None:
        if room.mirror is mirror and room.open:
            if room.doubtful:
                self._read_now(room)
            else:
                room.reading = False

    def _read_now(self, room: Room) -> None:
        self._wanted[room.topic] = room
        if not self._reading:
            self._reading = True
            self._spawn(self._read_all())

    async def _read_all(self) -> None:
        try:
            while self._wanted:
                topics = list(self._wanted)[:LISTS_AT_ONCE]
                rooms = [self._wanted.pop(topic) for topic in topics]
                try:
                    await self._read([room for room in rooms if room.open])
                except PresenceUnavailable as error:
                    self._complain(error)
                    _give_up(rooms)
                except Exception:
                    logger.exception("who is here could not be read")
                    _give_up(rooms)
        finally:
            self._reading = False

    async def _read(self, rooms: Collection[Room]) -> None:
        asked = [(room, room.mirror, room.mirror.ask()) for room in rooms]
        for room in rooms:
            room.strange = False
        self.reads += len(rooms)
        rosters = await self._store.read([(room.topic, room.limit) for room in rooms])
        for (room, mirror, ask), roster in zip(asked, rosters, strict=True):
            if not room.open or room.mirror is not mirror:
                continue
            room.reading = False
            if room.replace(roster, ask):
                self._done(room)
            else:
                self.read_soon(room, PATIENCE_SECONDS)


def _give_up(rooms: Collection[Room]) -> None:
    """Their lists could not be read; a comparison tries again. Nobody is to wait for them until then."""
    for room in rooms:
        room.reading = False
        room.loaded.set()

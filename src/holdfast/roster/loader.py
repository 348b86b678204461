"""Reading of the lists that a hub's replicas cannot be brought up to date without."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from holdfast.presence.base import PresenceStore, PresenceUnavailable
from holdfast.process.batcher import Batcher

from .health import StoreHealth
from .local import LocalPresence
from .replica import RosterReplica

logger = logging.getLogger("holdfast.presence")

PATIENCE_SECONDS = 0.02
"""How long changes may overtake one another before the list is read."""

LISTS_AT_ONCE = 100


class RosterLoader:
    """Reads lists: all that are needed at the same time in one round trip, and one round trip at a time.

    A list that shows that the store has lost members of this server puts its topic into ``writes``.
    """

    def __init__(
        self,
        store: PresenceStore,
        *,
        writes: Batcher[LocalPresence],
        health: StoreHealth,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._writes = writes
        self._health = health
        self._needed = Batcher(self._load, spawn=spawn, at_once=LISTS_AT_ONCE)
        self.reads = 0

    def load_soon(self, local: LocalPresence, seconds: float) -> None:
        """Read a list: at once if ``seconds`` is 0, otherwise after so many seconds, if it is still outdated then."""
        if local.reading:
            return
        local.reading = True
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._load_if_needed, local, local.replica)
        else:
            self._needed.add(local)

    def _load_if_needed(self, local: LocalPresence, replica: RosterReplica) -> None:
        if local.replica is replica and local.open:
            if local.outdated:
                self._needed.add(local)
            else:
                local.reading = False

    async def _load(self, group: list[LocalPresence]) -> None:
        try:
            await self._read([local for local in group if local.open])
        except PresenceUnavailable as error:
            self._health.failed(error)
            _give_up(group)
        except Exception:
            logger.exception("rosters could not be read; the next comparison with the store tries again")
            _give_up(group)

    async def _read(self, group: list[LocalPresence]) -> None:
        starts = [(local, local.replica, local.replica.begin_read()) for local in group]
        for local in group:
            local.strange = False
        self.reads += len(group)
        rosters = await self._store.read([(local.topic, local.limit) for local in group])
        for (local, replica, start), roster in zip(starts, rosters, strict=True):
            if not local.open or local.replica is not replica:
                continue
            local.reading = False
            if not local.replace(roster, start):
                self.load_soon(local, PATIENCE_SECONDS)
            elif local.lacking:
                local.begin_writing(None)
                self._writes.add(local)


def _give_up(group: list[LocalPresence]) -> None:
    """Let joins go on without the lists that could not be read. A comparison with the store tries again."""
    for local in group:
        local.reading = False
        local.loaded.set()

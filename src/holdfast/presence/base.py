"""Presence stores: the members of topics, over all servers of one installation.

A server holds members under its **lease**, which it refreshes with one command for all of them. When a lease ends, another
server removes what was held under it. A member is listed while at least one lease holds it. Each server counts a member's
connections itself.

What a store promises:

- **Atomicity.** A :class:`Write` to one topic happens as a whole or not at all, and so does each part of :meth:`clear`.
  Of all callers that could have added or removed a member, exactly one gets the :class:`Change` that says so.
- **Order.** Every change of a topic has a unique mark and names the mark before it. So a reader knows whether it has seen all
  changes. A mark never comes twice, even when the store has lost its memory.
- **Fencing.** A write under a lease that has ended is refused, however late it comes.
- **Loss.** The store may lose everything, or its last writes. Marks show that, and servers write again what they hold.

Asynchronous methods belong to the event loop that called :meth:`PresenceStore.start`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import msgspec


class PresenceUnavailable(Exception):
    """The store did not answer. A write may or may not have been made."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """The change that one server makes in one topic. ``entering`` maps members to what clients get of them, as JSON."""

    topic: str
    entering: Mapping[str, bytes] = {}
    leaving: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a write for all servers: the members that are listed now and were not, and those that are no longer.

    ``mark`` is the topic's mark after the write, ``before`` the one that it follows. They are equal if the write changed
    nothing for others. ``joined`` is ``None`` if the list was left out because it is too long. ``count`` is always there.
    """

    before: str
    mark: str
    count: int
    joined: Mapping[str, bytes] | None = {}
    left: tuple[str, ...] = ()


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """A topic's members at one moment. ``members`` is ``None`` if there are more than the given limit."""

    mark: str
    count: int
    members: Mapping[str, bytes] | None


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to :meth:`PresenceStore.refresh`. ``alive``: the lease goes on. ``ended``: leases of other servers that have
    ended, for the caller to :meth:`~PresenceStore.clear`."""

    alive: bool
    ended: tuple[str, ...] = ()


Tell = Callable[[str, Change], None]
"""Called with a topic and a change of its members."""


def number(mark: str) -> int:
    """Return the number of changes up to a mark. It starts at 0 again in a store that has lost its memory."""
    return int(mark.partition("-")[0] or 0)


class PresenceStore(ABC):
    """A store of members. All methods but :meth:`members` raise :class:`PresenceUnavailable` if it does not answer."""

    shared: bool = True
    """Do other processes see what this process writes?"""

    @abstractmethod
    async def start(self) -> None:
        """Prepare for use on the running event loop."""

    @abstractmethod
    async def stop(self) -> None:
        """Release the resources that :meth:`start` acquired."""

    @abstractmethod
    async def open(self, lease: str, seconds: float) -> None:
        """Begin a lease. Its name was never used before."""

    @abstractmethod
    async def refresh(self, lease: str, seconds: float) -> Refreshed:
        """Let the lease last for ``seconds`` from now, unless it has ended, and find leases of other servers that have ended.
        A caller without a lease passes ``""``.

        An ended lease is given to one caller at a time, and to another one if that caller does not clear it in ``seconds``.
        """

    @abstractmethod
    async def change(self, lease: str, writes: Sequence[Write]) -> Sequence[Change | None]:
        """Write under a lease. Return the changes; ``None`` for a write that was refused because the lease has ended, or
        because the store has lost its memory.

        Entering a member that the lease holds already, or removing one that it does not hold, changes nothing.
        """

    @abstractmethod
    async def held(self, lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        """Return the members that the lease holds in each of the topics."""

    @abstractmethod
    async def forget(self, lease: str, topics: Sequence[str]) -> None:
        """Note that the lease holds no members in these topics any more, and need not be cleared there."""

    @abstractmethod
    async def clear(self, lease: str, tell: Tell) -> None:
        """End a lease, if it has not ended, and remove all members that it held. Calls ``tell`` with each change."""

    @abstractmethod
    async def read(self, topics: Sequence[tuple[str, int]]) -> Sequence[Roster]:
        """Return the members of each topic, if there are at most as many as the limit beside its name."""

    @abstractmethod
    async def marks(self, topics: Sequence[str]) -> Sequence[str]:
        """Return the mark of each topic; ``""`` for one that has had no members, or none for a long time."""

    @abstractmethod
    def members(self, topic: str, limit: int, tell: Tell) -> Roster:
        """Return the members of one topic, if there are at most ``limit``. Members that ended leases hold there are removed
        first, and ``tell`` is called with the changes. For any thread; blocks."""

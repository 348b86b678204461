"""Who is here: the members of topics, over all servers of one installation.

A server holds members under its **lease**, which it refreshes with one command for all of them. When a lease ends, any
other server takes away what was held under it. A member is here while at least one lease holds it; how many connections
a server counts for a member is that server's own business.

What a store promises:

- **Atomicity.** A :class:`Write` to one topic happens at once or not at all, and so does each part of :meth:`clear`.
  Of all who might say that a member came or went, exactly one gets the :class:`Change` that says so.
- **Order.** Every change of a topic has a mark of its own and names the mark before it, so that who has heard of all
  changes knows it, and who has not knows that too. A mark never comes twice, even when the store has lost its memory.
- **Fencing.** What a lease that has ended still tries to write is refused, however late it comes.
- **Loss.** The store may lose everything, or its last writes. Marks tell; servers write again what they hold.

Asynchronous methods belong to the event loop that called :meth:`PresenceStore.start`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import msgspec


class PresenceUnavailable(Exception):
    """The store could not be asked. What was to be written may have been written."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """What one server changes in one topic. ``entering`` maps members to what clients are told of them, as JSON."""

    topic: str
    entering: Mapping[str, bytes] = {}
    leaving: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a write for everybody: who is here that was not, and who is not any more.

    ``mark`` is the topic's mark after it, ``before`` the one that it follows; they are equal when nothing changed for
    others. ``joined`` is ``None`` where the list was left out because it is too long; ``count`` is always there.
    """

    before: str
    mark: str
    count: int
    joined: Mapping[str, bytes] | None = {}
    left: tuple[str, ...] = ()


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """A topic's members at one moment. ``members`` is ``None`` if there are more than were asked for."""

    mark: str
    count: int
    members: Mapping[str, bytes] | None


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """``alive``: the lease goes on. ``ended``: leases of others that ended, for the caller to :meth:`clear`."""

    alive: bool
    ended: tuple[str, ...] = ()


Tell = Callable[[str, Change], None]
"""Called with a topic and what changed there."""


def number(mark: str) -> int:
    """How many changes the topic had seen at a mark. Counts from 0 again in a store that lost its memory."""
    return int(mark.partition("-")[0] or 0)


class PresenceStore(ABC):
    """Where members are kept. All but :meth:`members` raise :class:`PresenceUnavailable`."""

    shared: bool = True
    """Do other processes see what is written here?"""

    @abstractmethod
    async def start(self) -> None:
        """Be ready to be asked on the running event loop."""

    @abstractmethod
    async def stop(self) -> None:
        """Give back what :meth:`start` took."""

    @abstractmethod
    async def open(self, lease: str, seconds: float) -> None:
        """Begin a lease, under a name that was never used before."""

    @abstractmethod
    async def refresh(self, lease: str, seconds: float) -> Refreshed:
        """Let the lease last for ``seconds`` from now, unless it has ended, and look for those of others that have. Who
        has no lease, ``""``, only looks.

        An ended lease is given to one caller at a time, and to another if that one does not clear it in ``seconds``.
        """

    @abstractmethod
    async def change(self, lease: str, writes: Sequence[Write]) -> Sequence[Change | None]:
        """Write under a lease; ``None`` in place of a write that was refused because the lease has ended.

        Writing what is there already, or taking away what is not, changes nothing.
        """

    @abstractmethod
    async def held(self, lease: str, topics: Sequence[str]) -> Sequence[frozenset[str]]:
        """Which members the lease holds in each of the topics."""

    @abstractmethod
    async def forget(self, lease: str, topics: Sequence[str]) -> None:
        """The lease holds nobody in these topics any more, and need not be cleared there."""

    @abstractmethod
    async def clear(self, lease: str, tell: Tell) -> None:
        """End a lease, if it has not ended, and take away everything that it held, telling the changes one by one."""

    @abstractmethod
    async def read(self, topics: Sequence[tuple[str, int]]) -> Sequence[Roster]:
        """Who is in each topic, if they are not more than the limit beside its name."""

    @abstractmethod
    async def marks(self, topics: Sequence[str]) -> Sequence[str]:
        """The mark of each topic; ``""`` for one where nobody ever was, or not for a long time."""

    @abstractmethod
    def members(self, topic: str, limit: int, tell: Tell) -> Roster:
        """Who is in one topic, if they are not more than ``limit``, but for what leases hold there that have ended: that is
        taken away first, and told. For any thread; blocks."""

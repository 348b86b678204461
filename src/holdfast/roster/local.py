"""One topic's presence in one hub: which members its own connections are, and what each client was told of the list."""

import asyncio
from collections.abc import Iterable, Iterator

import msgspec

from holdfast.presence.base import Change, Roster, Write
from holdfast.protocol import frames
from holdfast.streams.prepared import Burst, Prepared
from holdfast.streams.stream import Subscription

from .replica import Asked, Mirror, Taken

TELL_SECONDS = 0.005
SECONDS_PER_CLIENT = 40e-6
"""Ten times what telling one client costs: so that telling takes no more than a tenth of the processor, however many
come and go. Where that is not much it is done after ``TELL_SECONDS``."""


class Pace:
    """Spreads the telling of all rooms of a hub over time. What changes while a room waits is told at once."""

    def __init__(self) -> None:
        self._free = 0.0  # until then the time is taken

    def reserve(self, now: float, clients: int) -> float:
        """When so many clients may be told."""
        at = max(now + TELL_SECONDS, self._free)
        self._free = max(now, self._free) + clients * SECONDS_PER_CLIENT
        return at


class Attending(msgspec.Struct, frozen=True, kw_only=True):
    """How a client takes part in a topic's presence. ``member`` is ``None`` for one that only watches; ``info`` is what
    clients are told of the member, as JSON. Lists longer than ``limit`` are not told."""

    member: str | None
    info: bytes
    limit: int


class Told(Prepared):
    """A message about who is here, which takes the way of an event."""

    __slots__ = ()

    def frame(self, payload: bytes) -> frames.Presence:
        return frames.Presence(topic=self.topic, payload=msgspec.Raw(payload))


class Member(msgspec.Struct):
    """Somebody who is here through this server, with so many connections."""

    info: bytes
    connections: int = 0


class Client(msgspec.Struct):
    """A subscription, as presence sees it. ``state`` is the mirror's that the client was told of last."""

    member: str | None
    state: int


class Room:
    """``members`` are those that the store should hold for this server, ``written`` those that it does hold, as far as
    that is known. A room that is not :attr:`open` has no list; it goes when the store holds nothing for it.
    """

    __slots__ = (
        "_absent",
        "_moved",
        "_pace",
        "_timer",
        "clients",
        "limit",
        "loaded",
        "members",
        "mirror",
        "open",
        "reading",
        "strange",
        "topic",
        "written",
    )

    def __init__(self, topic: str, limit: int, pace: Pace) -> None:
        self.topic = topic
        self.limit = limit
        self.begin()
        self.clients: dict[Subscription, Client] = {}
        self.members: dict[str, Member] = {}
        self.written: set[str] | None = set()
        self._moved: set[str] | None = set()  # whom the difference can concern; None: anybody
        self._pace = pace
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on the topic is listened to. Nothing is known of its list."""
        self.open = True
        self.mirror = Mirror(self.limit)
        self.loaded = asyncio.Event()
        self.reading = False  # the list is being read, or will be in a moment
        self.strange = False  # there were changes that do not go with the list
        self._absent: set[str] = set()

    @property
    def over(self) -> bool:
        return not self.open and not self.members and self.written is not None and not self.written

    def close(self) -> None:
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── this server's own members ────────────────────────────────────────────────────────────────────────────────────

    def is_new(self, who: Attending) -> bool:
        """Is the list, as far as there is one, going to be one longer for them?"""
        return (
            who.member is not None
            and self.mirror.members is not None
            and who.member not in self.mirror.members
        )

    def enter(self, subscription: Subscription, who: Attending) -> bool:
        """Say whether that makes somebody a member here."""
        # Who makes the list too long was told no list, and so can be told of no difference to it.
        untold = not self.complete or (self.is_new(who) and self.mirror.count >= self.limit)
        self.clients[subscription] = Client(who.member, 0 if untold else self.mirror.state)
        if who.member is None:
            return False
        member = self.members.setdefault(who.member, Member(who.info))
        member.connections += 1
        return member.connections == 1 and self._has_moved(who.member)

    def leave(self, subscription: Subscription) -> bool:
        """Say whether that makes somebody a member here no longer."""
        client = self.clients.pop(subscription, None)
        if client is None or client.member is None:
            return False
        member = self.members[client.member]
        member.connections -= 1
        if member.connections:
            return False
        del self.members[client.member]
        if self._absent:
            self._tell_soon()  # it may have been the last one that clients had to wait for
        return self._has_moved(client.member)

    def _has_moved(self, member: str) -> bool:
        if self._moved is not None:
            self._moved.add(member)
        return True

    def begin_writing(self, written: set[str] | None) -> None:
        """From now on this is what the store holds for this server; ``None``: it has to be asked."""
        self.written = written
        self._moved = None

    def writes(self, chunk: int) -> Iterator[Write]:
        """What is to be written now, in parts of at most so many members."""
        assert self.written is not None
        moved, self._moved = self._moved, set()
        names = [*self.members, *self.written] if moved is None else moved
        entering = [name for name in names if name in self.members and name not in self.written]
        leaving = [name for name in names if name in self.written and name not in self.members]
        for start in range(0, max(len(entering), len(leaving)), chunk):
            part = entering[start : start + chunk]
            yield Write(
                topic=self.topic,
                entering={member: self.members[member].info for member in part},
                leaving=tuple(leaving[start : start + chunk]),
            )

    def misses(self, left: Iterable[str]) -> bool:
        """Have members left for everybody whom the store should hold for this server? Then it has lost that."""
        written, listed = self.written, self.mirror.members
        if written is None:
            return False
        return any(name in written and (listed is None or name not in listed) for name in left)

    def wrote(self, write: Write) -> None:
        """It has been written."""
        if self.written is not None:
            self.written.difference_update(write.leaving)
            self.written.update(write.entering)

    # ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def doubtful(self) -> bool:
        """Does the list have to be read?"""
        return self.strange or self.mirror.waiting or not self.mirror.known

    @property
    def complete(self) -> bool:
        """Has the list every member of this server that it lacked when it was read?

        A list lacks them when the store was away as they entered, or has lost its memory. They are written again within
        milliseconds of its return. Until then clients are told nothing: else they would hear that members left who stayed,
        themselves included. Members who enter later are not waited for, however many come.
        """
        if self._absent:
            listed = self.mirror.members
            self._absent &= set() if listed is None else self.members.keys() - listed.keys()
        return not self._absent

    def take(self, change: Change) -> None:
        """Apply a change of the list, if it is the next one."""
        before = self.mirror.state
        if self.mirror.take(change) is Taken.STRANGE:
            self.strange = True
        if self.mirror.state != before:
            self._tell_soon()

    def replace(self, roster: Roster, asked: Asked) -> bool:
        """The list was read. ``False``: it has to be read again."""
        before = self.mirror.state
        done = self.mirror.replace(roster, asked)
        listed = self.mirror.members
        self._absent = set() if listed is None else self.members.keys() - listed.keys()
        self.loaded.set()
        if self.mirror.state != before:
            self._tell_soon()
        self.strange = self.strange or not done
        return not self.strange

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell_soon(self) -> None:
        if self._timer is not None or not self.clients:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._pace.reserve(loop.time(), len(self.clients)), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self.tell(tuple(self.clients))

    def tell(self, subscriptions: Iterable[Subscription]) -> None:
        """Tell clients what is different from what they know. One that is not ready knows it later, at once."""
        mirror = self.mirror
        if not mirror.known or not self.complete:
            return
        now = mirror.state
        bursts: dict[int, Burst | None] = {}
        for subscription in subscriptions:
            client, outlet = self.clients.get(subscription), subscription.outlet
            if client is None or client.state == now or subscription.ended or not outlet.ready:
                continue
            if client.state not in bursts:
                payload = mirror.since(client.state)
                bursts[client.state] = (
                    None if payload is None else Burst([Told(self.topic, "presence", payload)])
                )
            burst, client.state = bursts[client.state], now
            if burst is None:
                continue
            try:
                outlet.write(burst)
            except Exception as error:  # noqa: BLE001 - of this outlet: the others shall hear of it
                subscription.fail(burst, error)

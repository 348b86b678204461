"""One topic's presence in one hub: the members among its own connections, and what each client knows of the roster."""

import asyncio
from collections.abc import Iterable, Iterator

import msgspec

from holdfast.presence.base import Change, Roster, Write
from holdfast.protocol import frames
from holdfast.streams.prepared import Burst, Prepared
from holdfast.streams.stream import Subscription

from .replica import Applied, ReadStart, RosterReplica

NOTIFY_SECONDS = 0.005
SECONDS_PER_CLIENT = 40e-6
"""Ten times what notifying one client costs, so that notifications take no more than a tenth of the processor, however many
members come and go. Where that is little, clients are notified after ``NOTIFY_SECONDS``."""


class Pacer:
    """Spreads the notifications of all topics of a hub over time. What changes while a topic waits goes out in one diff."""

    def __init__(self) -> None:
        self._free = 0.0  # until then the time is taken

    def reserve(self, now: float, clients: int) -> float:
        """Reserve the time for notifying so many clients. Return when it begins."""
        at = max(now + NOTIFY_SECONDS, self._free)
        self._free = max(now, self._free) + clients * SECONDS_PER_CLIENT
        return at


class Attendance(msgspec.Struct, frozen=True, kw_only=True):
    """How a client takes part in a topic's presence. ``member`` is ``None`` for a client that only watches. ``info`` is
    what clients get of the member, as JSON. Clients get the count instead of lists longer than ``limit``."""

    member: str | None
    info: bytes
    limit: int


class PresenceMessage(Prepared):
    """A message about a topic's members, which is delivered as an event is."""

    __slots__ = ()

    def frame(self, payload: bytes) -> frames.PresenceFrame:
        return frames.PresenceFrame(topic=self.topic, payload=msgspec.Raw(payload))


class LocalMember(msgspec.Struct):
    """A member that is connected to this server, and its number of connections here."""

    info: bytes
    connections: int = 0


class Attendee(msgspec.Struct):
    """A subscription, as presence sees it. ``state`` is the replica's state that the client knows."""

    member: str | None
    state: int


class LocalPresence:
    """One topic's presence in one hub.

    ``members`` are those that the store should hold for this server. ``written`` are those that it does hold, as far as that
    is known; ``None`` if the store has to be asked. While it is not :attr:`open` there is no replica. It is dropped when
    the store holds nothing for it.
    """

    __slots__ = (
        "_changed",
        "_missing",
        "_pacer",
        "_timer",
        "attendees",
        "limit",
        "loaded",
        "members",
        "open",
        "reading",
        "replica",
        "strange",
        "topic",
        "written",
    )

    def __init__(self, topic: str, limit: int, pacer: Pacer) -> None:
        self.topic = topic
        self.limit = limit
        self.begin()
        self.attendees: dict[Subscription, Attendee] = {}
        self.members: dict[str, LocalMember] = {}
        self.written: set[str] | None = set()
        self._changed: set[str] | None = set()  # members in which the two can differ; None: all
        self._pacer = pacer
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin with an empty replica: the topic has subscribers from now on."""
        self.open = True
        self.replica = RosterReplica(self.limit)
        self.loaded = asyncio.Event()
        self.reading = False  # the list is being read, or will be in a moment
        self.strange = False  # there were changes that do not go with the list
        self._missing: set[str] = set()  # members of this server that the list lacked when it was read

    @property
    def over(self) -> bool:
        """Has it no subscribers, and does the store hold nothing for it?"""
        return not self.open and not self.members and self.written is not None and not self.written

    def close(self) -> None:
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── this server's own members ────────────────────────────────────────────────────────────────────────────────────

    def is_new(self, attendance: Attendance) -> bool:
        """Does the attendance make the list one longer, as far as there is a list?"""
        return (
            attendance.member is not None
            and self.replica.members is not None
            and attendance.member not in self.replica.members
        )

    def enter(self, subscription: Subscription, attendance: Attendance) -> bool:
        """Add a subscription. Return whether that adds a member to this server's."""
        # A client whose join pushes the list past the limit gets no list, and so no diff until a full list fits again.
        unlisted = not self.complete or (self.is_new(attendance) and self.replica.count >= self.replica.limit)
        self.attendees[subscription] = Attendee(attendance.member, 0 if unlisted else self.replica.state)
        if attendance.member is None:
            return False
        member = self.members.setdefault(attendance.member, LocalMember(attendance.info))
        member.connections += 1
        return member.connections == 1 and self._note_change(attendance.member)

    def leave(self, subscription: Subscription) -> bool:
        """Remove a subscription. Return whether that removes a member from this server's."""
        attendee = self.attendees.pop(subscription, None)
        if attendee is None or attendee.member is None:
            return False
        member = self.members[attendee.member]
        member.connections -= 1
        if member.connections:
            return False
        del self.members[attendee.member]
        if self._missing:
            self._notify_soon()  # it may have been the last one that clients had to wait for
        return self._note_change(attendee.member)

    def _note_change(self, member: str) -> bool:
        if self._changed is not None:
            self._changed.add(member)
        return True

    def begin_writing(self, written: set[str] | None) -> None:
        """Take ``written`` for what the store holds for this server; ``None`` if the store has to be asked."""
        self.written = written
        self._changed = None

    def writes(self, chunk: int) -> Iterator[Write]:
        """What has to be written now, in parts of at most ``chunk`` members."""
        assert self.written is not None
        changed, self._changed = self._changed, set()
        names = [*self.members, *self.written] if changed is None else changed
        entering = [name for name in names if name in self.members and name not in self.written]
        leaving = [name for name in names if name in self.written and name not in self.members]
        for start in range(0, max(len(entering), len(leaving)), chunk):
            part = entering[start : start + chunk]
            yield Write(
                topic=self.topic,
                entering={member: self.members[member].info for member in part},
                leaving=tuple(leaving[start : start + chunk]),
            )

    def wrote(self, write: Write) -> None:
        """Note that the store holds what was to be written."""
        if self.written is not None:
            self.written.difference_update(write.leaving)
            self.written.update(write.entering)

    def lost_by(self, left: Iterable[str]) -> bool:
        """Are there members that the store should hold for this server among those that left? Then it has lost them."""
        written, listed = self.written, self.replica.members
        if written is None:
            return False
        return any(name in written and (listed is None or name not in listed) for name in left)

    @property
    def lacking(self) -> bool:
        """Does the list lack a member that the store should hold for this server? Then it has lost that member."""
        listed, written = self.replica.members, self.written
        return listed is not None and written is not None and not written <= listed.keys()

    # ── the roster ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def outdated(self) -> bool:
        """Does the list have to be read?"""
        return self.strange or self.replica.incomplete or not self.replica.known

    @property
    def complete(self) -> bool:
        """Has the list got every member of this server that it lacked when it was read?

        A list lacks members that entered while the store was away, or all of them if the store has lost its memory. They are
        written again within milliseconds of its return. Until then clients are not notified: otherwise they would be told
        that members left who stayed, themselves included. Members who enter later are not waited for, however many come.
        """
        if self._missing:
            listed = self.replica.members
            self._missing &= set() if listed is None else self.members.keys() - listed.keys()
        return not self._missing

    def apply(self, change: Change) -> None:
        """Apply a change of the list, if it is the next one."""
        before = self.replica.state
        if self.replica.apply(change) is Applied.STRANGE:
            self.strange = True
        if self.replica.state != before:
            self._notify_soon()

    def replace(self, roster: Roster, start: ReadStart) -> bool:
        """Take over a list that was read. Return ``False`` if it has to be read again."""
        before = self.replica.state
        done = self.replica.replace(roster, start)
        listed = self.replica.members
        self._missing = set() if listed is None else self.members.keys() - listed.keys()
        self.loaded.set()
        if self.replica.state != before:
            self._notify_soon()
        self.strange = self.strange or not done
        return not self.strange

    # ── notifying clients ────────────────────────────────────────────────────────────────────────────────────────────

    def _notify_soon(self) -> None:
        if self._timer is not None or not self.attendees:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._pacer.reserve(loop.time(), len(self.attendees)), self._notify_all)

    def _notify_all(self) -> None:
        self._timer = None
        self.notify(tuple(self.attendees))

    def notify(self, subscriptions: Iterable[Subscription]) -> None:
        """Send each client the diff to what it knows. A client that is not ready gets it as soon as it is."""
        replica = self.replica
        if not replica.known or not self.complete:
            return
        now = replica.state
        bursts: dict[int, Burst | None] = {}
        for subscription in subscriptions:
            attendee, subscriber = self.attendees.get(subscription), subscription.subscriber
            if attendee is None or attendee.state == now or subscription.ended or not subscriber.ready:
                continue
            if attendee.state not in bursts:
                payload = replica.since(attendee.state)
                bursts[attendee.state] = (
                    None if payload is None else Burst([PresenceMessage(self.topic, "presence", payload)])
                )
            burst, attendee.state = bursts[attendee.state], now
            if burst is None:
                continue
            try:
                subscriber.write(burst)
            except Exception as error:  # noqa: BLE001 - one subscriber's error must not cost the others the message
                subscription.fail(burst, error)

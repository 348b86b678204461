"""The connection's side of a join, from the client's request to the :class:`~holdfast.connections.joined_topic.JoinedTopic`.

The connection finds the topic by its route and asks the topic's rule (:mod:`.authorization`). It gathers what the topic's other methods
say, ``snapshot`` and ``presence_meta``, and asks the hub for the answer (:mod:`holdfast.hub.joining`). Then, in one turn of the event
loop, it checks whether a revocation has come since the rule was asked, sends ``joined`` and subscribes.
"""

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from django.conf import settings

from holdfast.hub.joining import PendingJoin
from holdfast.hub.snapshots import Snapshot, State
from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.protocol.effects import Admit, Effect
from holdfast.protocol.frames import MemberPayload
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.roster.local import Attendance
from holdfast.runtime import Runtime
from holdfast.streams.subscriber import ConvertingSubscriber, Subscriber
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.failures import code_of, detail_of, report
from holdfast.topics.presence import Presence, anonymous_id
from holdfast.topics.topic import Topic, share_name
from holdfast.topics.versions import known_to

from . import notices
from .authorization import admits
from .caller import ConnectionCaller
from .joined_topic import JoinedTopic
from .performing import Performing
from .read_rate import TooManyReads

logger = logging.getLogger("holdfast.connections")

META_BYTES = 1024
"""Greatest size of one member's metadata, as JSON. Each client that joins gets the metadata of all members."""


class Joining(Performing):
    """The base of a connection that carries out joins."""

    __slots__ = ()

    _network: str | None

    @property
    @abstractmethod
    def owner(self) -> str:
        """The user, or the client if it is anonymous."""

    @property
    @abstractmethod
    def limit_key(self) -> str:
        """The key of rates that several connections share."""

    async def _admit(self, asked: Admit) -> None:
        """Carry out a join: subscribe the client to a topic, or refuse it."""
        try:
            effects = await self._join(asked)
        except TooManyReads as limited:
            effects = self._refuse_join(asked, codes.RATE_LIMITED, retry_after=limited.retry_after)
        except Exception as error:  # noqa: BLE001 - reported there
            # may_join has admitted the client, so a refusal by snapshot or presence_meta may be a mistake: log a warning.
            report(logger, f"a join of {asked.topic!r} failed", error, no=logging.WARNING)
            code = code_of(error)
            wait = RETRY_SECONDS if code.retry else None
            effects = self._refuse_join(asked, code, message=detail_of(error), retry_after=wait)
        self._carry_out(effects)

    async def _join(self, asked: Admit) -> Iterable[Effect]:
        """Join, or return the effects that refuse it. A client cannot tell an unknown topic from a forbidden one."""
        manager, session = self._manager, self._session
        recent, named = manager.revocation.recent, False
        topic = manager.registry.resolve(asked.topic, session.user)
        while True:
            await manager.reauthorization.settled(session.id)
            begun = recent.newest
            if not await admits(manager.runtime.threads, topic, self.identity) or topic is None:
                manager.explanations.refused(asked.topic, topic, self.identity.user, self._loop.time())
                return self._refuse_join(asked, codes.FORBIDDEN)
            if not named and not session.admitted(asked.topic, topic.name):
                return self._refuse_join(asked, codes.ALREADY_JOINED, topic=topic.name)
            named = True  # the session has noted the topic's canonical name
            if self._is_outdated(topic):
                return self._refuse_join(asked, codes.OUTDATED)
            checked = self._loop.time()
            pending = await self._begin_join(asked, topic)
            # No await from here on: the answer holds for this turn of the loop, and no revocation comes before the subscription.
            # An anonymous client's owner is a keyed hash, which is made at first need and then kept.
            route = topic.declared.route.text
            if recent.newest > begun and recent.concern(self.owner, topic.name, route, begun):
                continue  # the rule may have another answer now
            self._subscribe(asked, topic, pending, checked)
            return ()

    async def _begin_join(self, asked: Admit, topic: Topic) -> PendingJoin:
        """Gather what the hub needs for a join, and let it find the answer."""
        manager, declared = self._manager, topic.declared
        if declared.slow.conflates:
            self._transport.report_blocking()
        attending = None
        if declared.presence is not None:
            crowd = manager.boundary.crowd(self._network)
            attending = await attendance_of(
                manager.runtime.threads, topic, self.caller, declared.presence, crowd
            )
        return await self._hub.begin_join(
            topic.name,
            durable=declared.durable,
            slow=declared.slow,
            since=asked.since,
            snapshot=snapshot_of(manager.runtime, topic, self.identity.host),
            attending=attending,
            charge=partial(manager.reads.charge, self.limit_key, self._loop),
            reader=declared.versions,
        )

    def _subscribe(self, asked: Admit, topic: Topic, pending: PendingJoin, checked: float) -> None:
        """Answer a join and subscribe. ``checked`` is the time when the rule admitted the client."""
        session, payload = self._session, pending.payload
        share_name(topic, pending.topic)
        if settings.DEBUG:
            payload = msgspec.structs.replace(payload, events=tuple(topic.declared.events))
        self._transport.note_join(asked.topic, topic.name, pending.position)
        self._carry_out(session.joined(asked.ref, asked.topic, topic.name, payload))
        if session.has_joined(asked.topic):  # else the client has closed, or left while it joined
            subscription = pending.subscribe(self._subscriber_to(topic))
            self._joined[topic.name] = JoinedTopic(topic, subscription, checked)

    def _refuse_join(
        self,
        asked: Admit,
        code: Code,
        *,
        topic: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> list[Effect]:
        """Refuse a join, as :meth:`ServerProtocol.refused` does."""
        if notices.JOIN_REFUSED.wanted:
            notices.JOIN_REFUSED.send(self.peer, topic=asked.topic, code=code.name, retry_after=retry_after)
        if code is codes.RATE_LIMITED:
            self._report_limit("join_reads", retry_after, asked.topic)
        return self._session.refused(
            asked.ref, asked.topic, code, topic=topic, message=message, retry_after=retry_after
        )

    # ── versions of events ───────────────────────────────────────────────────────────────────────────────────────────

    def _is_outdated(self, topic: Topic) -> bool:
        """Whether the client knows no version of some event that the topic still has."""
        versions = topic.declared.versions
        return versions is not None and versions.outdated(known_to(self.identity.query_string)) is not None

    def _subscriber_to(self, topic: Topic) -> Subscriber:
        """Return the subscriber for a topic: this connection, or one that converts events to the versions that the client knows."""
        versions = topic.declared.versions
        older = None if versions is None else versions.older(known_to(self.identity.query_string))
        return self if older is None else ConvertingSubscriber(self, older.convert)


# ── what a topic's own methods contribute ────────────────────────────────────────────────────────────────────────────


def snapshot_of(runtime: Runtime, topic: Topic, host: str | None) -> Snapshot | None:
    """Return the way to take the topic's state; ``None`` if the topic offers none. On a durable topic it also finds the position
    that agrees with the state. Nothing in it depends on the client, so joins share it."""
    mode = topic.declared.snapshot
    if mode is None:
        return None
    taker: Any = topic
    threads, info = runtime.threads, HandlerInfo(host=host, topic=topic)
    what = f"{type(topic).__name__}.snapshot"

    def take(begin: Callable[[], None]) -> bytes:
        begin()
        return encode_returned(what, taker.snapshot())

    async def with_position(begin: Callable[[], None]) -> State:
        taking = partial(take, begin)
        return await threads.handle(
            info, runtime.log.consistent_read, topic.name, taking, runtime.publisher.broadcast
        )

    async def without_position(begin: Callable[[], None]) -> State:
        if mode is not Mode.LOOP:
            return None, await threads.handle(info, take, begin)
        begin()
        asking = threads.handle_async(info, taker.snapshot)
        return None, encode_returned(
            what, await asyncio.get_running_loop().create_task(asking, context=threads.context())
        )

    return Snapshot(
        read=with_position if topic.declared.durable else without_position,
        key=host if threads.tells_hosts_apart else None,
    )


async def attendance_of(
    threads: Threads,
    topic: Topic,
    caller: ConnectionCaller,
    presence: Presence,
    crowd: str | None = None,
) -> Attendance:
    """Return the caller's part in the ``presence`` of a topic: the member it counts as, and what others see of that member. Raises
    the exceptions of ``presence_meta``.

    Anonymous clients of one ``crowd`` are one member together: else a client could fill the list by opening connections.
    """
    if caller.user_id is None and not presence.anonymous:
        return Attendance(member=None, info=b"", limit=presence.list_limit)
    member = caller.user_id or anonymous_id(caller.client if crowd is None else f"crowd {crowd}")
    meta = await _meta(threads, topic, caller)
    info = msgspec.json.encode(MemberPayload(id=member, since=int(time.time()), meta=meta))
    return Attendance(member=member, info=info, limit=presence.list_limit)


async def _meta(threads: Threads, topic: Topic, caller: ConnectionCaller) -> msgspec.Raw | msgspec.UnsetType:
    teller: Any = topic
    user, info = caller.user, HandlerInfo(host=caller.identity.host, topic=topic)
    mode = topic.declared.presence_meta
    if mode is None:
        return msgspec.UNSET
    if mode is Mode.LOOP:
        found = await threads.handle_async(info, teller.presence_meta, user)
    else:
        found = await threads.handle(info, teller.presence_meta, user)
    meta = encode_returned(f"{type(topic).__name__}.presence_meta", found)
    if len(meta) > META_BYTES:
        raise ValueError(
            f"{type(topic).__name__}.presence_meta returned {len(meta)} bytes of JSON for {user}; at most {META_BYTES} are "
            "allowed, because each client of the topic gets them. Return a key by which clients can fetch the rest."
        )
    return msgspec.Raw(meta)

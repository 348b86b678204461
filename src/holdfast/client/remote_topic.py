"""One topic of a server, as a Python client sees it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.protocol.frames import MemberPayload, PresencePayload
from holdfast.protocol.positions import Position

from .errors import ClientError
from .news import Answered, Arrived, Ended, Joined, News, Present, StreamMoved

if TYPE_CHECKING:
    from .live import RemoteLive


class RemoteEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event. ``payload`` is its JSON as Python values. ``position`` is that after the event; ``None`` if it is in no log."""

    topic: str
    name: str
    payload: Any
    position: Position | None = None


class RemoteReset(msgspec.Struct, frozen=True, kw_only=True):
    """Events may be missing before this place. ``reason`` is ``trimmed``, ``epoch``, ``interrupted`` or ``lost``
    (PROTOCOL.md, section 2.4)."""

    topic: str
    reason: str


class RemoteTopic:
    """A joined topic. Iterate over it for its events; :meth:`call` its actions.

    ``snapshot`` is the state that came with the last join, if the topic gives one. ``members`` is who is here by id, on topics
    with presence whose list is short enough; ``member_count`` how many.
    """

    def __init__(self, live: "RemoteLive", name: str) -> None:
        self._live = live
        self.name = name
        self.snapshot: Any = None
        self.members: dict[str, MemberPayload] | None = None
        self.member_count: int | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[RemoteEvent | RemoteReset] = deque()
        self._over = False
        self._error: ClientError | None = None
        self._changed = asyncio.Event()

    @property
    def position(self) -> Position | None:
        """How far the *client* has read. Give it to ``join(…, since=…)`` to go on there, also in another process. The position of
        the last event that you took is ``event.position``."""
        return self._live.protocol.position(self.name)

    async def call(
        self, name: str, /, *, key: str | None = None, timeout: float | None = None, **arguments: Any
    ) -> Any:
        """Call an action, and return its result.

        The call is sent again after a lost connection, and carried out once. ``key`` names it across processes. Raises
        :class:`ClientError`; with the code ``"timeout"`` after ``timeout`` seconds, in which case it may still be carried out.
        """
        if self._over:
            raise self._error or ClientError("not_joined", "the topic was left")
        return await self._live.call(self.name, name, key=key, timeout=timeout, arguments=arguments)

    async def leave(self) -> None:
        """Leave the topic. The iteration ends."""
        await self._live.leave(self.name)

    def __aiter__(self) -> AsyncIterator[RemoteEvent | RemoteReset]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[RemoteEvent | RemoteReset]:
        while True:
            if self._waiting:
                item = self._waiting.popleft()
                self._note()
                yield item
            elif self._over:
                break
            else:
                self._changed.clear()
                await self._changed.wait()
        if self._error is not None:
            raise self._error

    # ── called by the connection ─────────────────────────────────────────────────────────────────────────────────────

    def take(self, news: News) -> None:
        """Take news of this topic."""
        match news:
            case Joined():
                payload = news.payload
                if payload.snapshot is not msgspec.UNSET:
                    self.snapshot = msgspec.json.decode(bytes(payload.snapshot))
                if payload.members is not msgspec.UNSET:
                    self._list(msgspec.json.decode(bytes(payload.members), type=tuple[MemberPayload, ...]))
                elif payload.count is not None:
                    self.members, self.member_count = None, payload.count
                if not self.ready.done():
                    self.ready.set_result(None)
            case Arrived():
                frame = news.frame
                position = self.position if frame.offset is not None else None
                if position is not None and frame.offset is not None:
                    position = Position(epoch=position.epoch, offset=frame.offset, stamp=frame.stamp)
                self._put(
                    RemoteEvent(
                        topic=frame.topic,
                        name=frame.name,
                        payload=msgspec.json.decode(bytes(frame.payload)),
                        position=position,
                    )
                )
            case StreamMoved():
                self._put(RemoteReset(topic=self.name, reason=news.reason))
            case Present():
                self._presence(msgspec.json.decode(bytes(news.frame.payload), type=PresencePayload))
            case Ended():
                self.end(news.error)
            case Answered():
                pass  # the connection answers calls itself

    def end(self, error: ClientError | None) -> None:
        """End the iteration: with an error, or without one after a leave."""
        if not self.ready.done():
            self.ready.set_exception(error or ClientError("closed", "the topic was left"))
            self.ready.exception()  # read here, because the application may have given up the join
        self._over, self._error = True, error
        self._changed.set()

    def _put(self, item: RemoteEvent | RemoteReset) -> None:
        self._waiting.append(item)
        self._note()
        self._changed.set()

    def _note(self) -> None:
        if not self._over:
            self._live.note(self.name, len(self._waiting))

    def _list(self, members: tuple[MemberPayload, ...]) -> None:
        self.members = {member.id: member for member in members}
        self.member_count = len(self.members)

    def _presence(self, payload: PresencePayload) -> None:
        if payload.members is not None:
            self._list(payload.members)
        elif payload.count is not None:
            self.members, self.member_count = None, payload.count
        elif self.members is not None:
            self.members = {
                **{key: member for key, member in self.members.items() if key not in payload.left},
                **{member.id: member for member in payload.joined},
            }
            self.member_count = len(self.members)

"""The client's side of the protocol, as a state machine without I/O.

The driver passes it messages and the time, sends what is in :attr:`ClientProtocol.outbox`, and hands on what is in
:attr:`ClientProtocol.news`. PROTOCOL.md states the duties of a client.
"""

from enum import Enum
from typing import Any

import msgspec

from holdfast.protocol import codes, frames
from holdfast.protocol.positions import Position

from .errors import ClientError

DEAD_SECONDS = 10.0
"""Seconds after an unanswered ping in which the connection counts as dead."""

RETRY_SECONDS = 1.0
"""Seconds after which something is sent again that the server could not do, if the server names no time."""

_decode = msgspec.json.Decoder(frames.Outbound).decode
_encode = msgspec.json.Encoder().encode


class JoinState(Enum):
    WAITING = "waiting"
    """To be joined as soon as there is a connection."""
    ASKED = "asked"
    JOINED = "joined"
    ENDED = "ended"


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """News: a topic is joined, for the first time or again."""

    topic: str
    payload: frames.JoinedPayload


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """News: an event."""

    topic: str
    frame: frames.EventFrame


class StreamMoved(msgspec.Struct, frozen=True, kw_only=True):
    """News: a stream goes on after a place where events may be missing. ``reason`` is that of the ``reset``, or ``"lost"`` when a
    position was not honoured."""

    topic: str
    reason: str


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """News: the members of a topic have changed."""

    topic: str
    frame: frames.PresenceFrame


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """News: a topic is over, because the server refused or ended it."""

    topic: str
    error: ClientError


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """News: a call has its answer: the result as JSON text, or an error."""

    call: int
    result: bytes | None = None
    error: ClientError | None = None


News = Joined | Arrived | StreamMoved | Present | Ended | Answered


class _Topic:
    __slots__ = ("asked", "canonical", "position", "retry_at", "state")

    def __init__(self, asked: str, position: Position | None) -> None:
        self.asked = asked
        self.canonical = asked
        self.position = position
        self.state = JoinState.WAITING
        self.retry_at = 0.0


class _Call:
    __slots__ = ("key", "name", "number", "payload", "ref", "retry_at", "topic")

    def __init__(self, number: int, topic: str, name: str, key: str, payload: bytes) -> None:
        self.number = number
        self.topic = topic
        self.name = name
        self.key = key
        self.payload = payload
        self.ref: int | None = None
        self.retry_at = 0.0


class ClientProtocol:
    """The state of one client, which outlives its connections. ``client`` is the client's id."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.outbox: list[str] = []
        self.news: list[News] = []
        self.welcome: frames.WelcomePayload | None = None
        self.goodbye: frames.GoodbyePayload | None = None
        self._topics: dict[str, _Topic] = {}
        self._calls: dict[int, _Call] = {}
        self._asked: dict[int, _Topic] = {}
        self._sent: dict[int, _Call] = {}
        self._ref = 0
        self._heard = self._pinged = 0.0

    # ── the application ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, topic: str, since: Position | None, now: float) -> None:
        """Join a topic, from a position if one is given."""
        self._topics[topic] = _Topic(topic, since)
        self.work(now)

    def leave(self, topic: str) -> None:
        """Leave a topic. There is no more news of it."""
        found = self._topics.pop(topic, None)
        if found is not None and found.state in (JoinState.ASKED, JoinState.JOINED) and self.welcome:
            self._send(frames.LeaveFrame(ref=self._next_ref(), topic=found.canonical))
        self._strand(topic)

    def _strand(self, topic: str | None = None) -> None:
        """Answer the calls that cannot be sent any more: their topic is left. Those that were sent get the server's answer."""
        for call in list(self._calls.values()):
            if call.ref is None and call.topic not in self._topics and topic in (None, call.topic):
                del self._calls[call.number]
                error = ClientError(codes.NOT_JOINED.name, "the topic was left before the call had an answer")
                self.news.append(Answered(call=call.number, error=error))

    def position(self, topic: str) -> Position | None:
        """Return how far the topic was read."""
        found = self._topics.get(topic)
        return None if found is None else found.position

    def call(self, topic: str, name: str, key: str | None, payload: dict[str, Any], now: float) -> int:
        """Call an action of a joined topic. Return the number under which the answer comes."""
        number = self._next_ref()
        key = key or f"{self.client}-{number}"
        self._calls[number] = _Call(number, topic, name, key, _encode(payload))
        self.work(now)
        return number

    def give_up(self, call: int) -> None:
        """Wait for the answer to a call no longer."""
        self._calls.pop(call, None)

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, token: str | None, now: float) -> None:
        """Begin a connection."""
        self.goodbye = None
        self._heard = self._pinged = now
        self._send(frames.HelloFrame(payload=frames.HelloPayload(client=self.client, token=token)))

    def lost(self) -> None:
        """Note that the connection has ended. What has no answer is sent again on the next one."""
        self.outbox.clear()
        self.welcome = None
        self._asked.clear()
        self._sent.clear()
        for topic in self._topics.values():
            if topic.state is not JoinState.ENDED:
                topic.state, topic.retry_at = JoinState.WAITING, 0.0
        for call in self._calls.values():
            call.ref, call.retry_at = None, 0.0
        self._strand()

    def received(self, data: str | bytes, now: float) -> None:
        """Handle a message of the server. Raises ``msgspec.MsgspecError`` for one that cannot be read: drop the connection
        then, since to pass over a message might be to lose an event."""
        frame = _decode(data)
        self._heard = now
        match frame:
            case frames.WelcomeFrame():
                self.welcome = frame.payload
            case frames.GoodbyeFrame():
                self.goodbye = frame.payload
            case frames.JoinedFrame():
                self._joined(frame)
            case frames.EventFrame():
                self._event(frame)
            case frames.ResetFrame():
                self._reset(frame)
            case frames.PresenceFrame():
                if found := self._named(frame.topic):
                    self.news.append(Present(topic=found.asked, frame=frame))
            case frames.LeftFrame():
                self._left(frame, now)
            case frames.ResultFrame():
                self._result(frame)
            case frames.ErrorFrame():
                self._error(frame, now)
            case frames.PingFrame():
                self._ping(now)
            case frames.PongFrame():
                pass
        self.work(now)

    def work(self, now: float) -> None:
        """Send what is due: joins, calls, a heartbeat."""
        if self.welcome is None:
            return
        for topic in self._topics.values():
            if topic.state is JoinState.WAITING and now >= topic.retry_at:
                self._ask(topic)
        for call in self._calls.values():
            found = self._topics.get(call.topic)
            if found is None or found.state is JoinState.ENDED:
                continue
            if call.ref is None and now >= call.retry_at and found.state is JoinState.JOINED:
                self._send_call(call, found)
        if now >= self._pinged + self.welcome.heartbeat:
            self._ping(now)

    def next_work(self, now: float) -> float:
        """Return when :meth:`work` is due again, at the latest."""
        if self.welcome is None:
            return now + DEAD_SECONDS
        waits = [topic.retry_at for topic in self._topics.values() if topic.state is JoinState.WAITING]
        waits += [call.retry_at for call in self._calls.values() if call.ref is None and call.retry_at > now]
        return min([self._pinged + self.welcome.heartbeat, *waits])

    def dead(self, now: float) -> bool:
        """Whether the server has been silent for too long."""
        quiet = DEAD_SECONDS if self.welcome is None else self.welcome.heartbeat + DEAD_SECONDS
        return now >= self._heard + quiet

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _next_ref(self) -> int:
        self._ref += 1
        return self._ref

    def _send(self, frame: frames.Inbound) -> None:
        self.outbox.append(_encode(frame).decode())

    def _ping(self, now: float) -> None:
        self._pinged = now
        self._send(frames.PingFrame())

    def _ask(self, topic: _Topic) -> None:
        topic.state, ref = JoinState.ASKED, self._next_ref()
        self._asked[ref] = topic
        payload = frames.JoinPayload(since=topic.position)
        self._send(frames.JoinFrame(ref=ref, topic=topic.asked, payload=payload))

    def _send_call(self, call: _Call, topic: _Topic) -> None:
        call.ref = self._next_ref()
        self._sent[call.ref] = call
        self._send(
            frames.CallFrame(
                topic=topic.canonical,
                name=call.name,
                ref=call.ref,
                key=call.key,
                payload=msgspec.Raw(call.payload),
            )
        )

    def _named(self, canonical: str) -> _Topic | None:
        found = self._topics.get(canonical)
        if found is not None and found.canonical == canonical:
            return found
        return next((topic for topic in self._topics.values() if topic.canonical == canonical), None)

    def _joined(self, frame: frames.JoinedFrame) -> None:
        topic = self._asked.pop(frame.ref, None)
        if topic is None or self._topics.get(topic.asked) is not topic:
            return  # left while it was asked
        payload, before = frame.payload, topic.position
        topic.state, topic.canonical = JoinState.JOINED, frame.topic
        if not payload.recovered:
            topic.position = frames.position_of(payload)
        if before is not None and payload.recovered is False:
            self.news.append(StreamMoved(topic=topic.asked, reason="lost"))
        self.news.append(Joined(topic=topic.asked, payload=payload))

    def _event(self, frame: frames.EventFrame) -> None:
        topic = self._named(frame.topic)
        if topic is None or topic.state is not JoinState.JOINED:
            return
        if frame.offset is not None and topic.position is not None:
            if frame.offset <= topic.position.offset:
                return
            topic.position = Position(epoch=topic.position.epoch, offset=frame.offset, stamp=frame.stamp)
        self.news.append(Arrived(topic=topic.asked, frame=frame))

    def _reset(self, frame: frames.ResetFrame) -> None:
        topic = self._named(frame.topic)
        if topic is not None:
            topic.position = frames.position_of(frame.payload) or topic.position
            self.news.append(StreamMoved(topic=topic.asked, reason=frame.payload.reason))

    def _left(self, frame: frames.LeftFrame, now: float) -> None:
        topic = self._named(frame.topic)
        if topic is None or frame.payload is None:
            return
        error = ClientError.of(frame.payload)
        if error.retry:
            topic.state, topic.retry_at = JoinState.WAITING, now + (error.retry_after or RETRY_SECONDS)
        else:
            self._end(topic, error)

    def _end(self, topic: _Topic, error: ClientError) -> None:
        topic.state = JoinState.ENDED
        self._topics.pop(topic.asked, None)
        self.news.append(Ended(topic=topic.asked, error=error))
        for call in [call for call in self._calls.values() if call.topic == topic.asked and call.ref is None]:
            del self._calls[call.number]
            self.news.append(Answered(call=call.number, error=error))

    def _result(self, frame: frames.ResultFrame) -> None:
        call = self._sent.pop(frame.ref, None)
        if call is not None and self._calls.pop(call.number, None) is not None:
            self.news.append(Answered(call=call.number, result=bytes(frame.payload)))

    def _error(self, frame: frames.ErrorFrame, now: float) -> None:
        error = ClientError.of(frame.payload)
        ref = -1 if frame.ref is None else frame.ref
        topic, call = self._asked.pop(ref, None), self._sent.pop(ref, None)
        wait = now + (error.retry_after or RETRY_SECONDS)
        if topic is not None and self._topics.get(topic.asked) is topic:
            if error.retry:
                topic.state, topic.retry_at = JoinState.WAITING, wait
            else:
                self._end(topic, error)
        elif call is not None and call.number in self._calls:
            if error.retry:
                call.ref, call.retry_at = None, wait
            else:
                del self._calls[call.number]
                self.news.append(Answered(call=call.number, error=error))

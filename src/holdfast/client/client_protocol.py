"""The client's side of the protocol, as a state machine without I/O.

The driver passes it messages and the time, sends what is in :attr:`ClientProtocol.outbox`, and hands on what is in
:attr:`ClientProtocol.news`. PROTOCOL.md states the duties of a client.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.protocol import codes, frames
from holdfast.protocol.positions import Position

from .calls import UnansweredCall, UnansweredCalls
from .errors import ClientError
from .messages import decode
from .news import Answered, Arrived, Ended, Joined, News, Present, StreamMoved
from .remote_subscription import JoinState, RemoteSubscription

DEAD_SECONDS = 10.0
"""Seconds after an unanswered ping in which the connection counts as dead."""

_encode = msgspec.json.Encoder().encode


class ClientProtocol:
    """The state of one client, which outlives its connections. ``client`` is the client's id; ``chance`` returns a number from 0 to 1
    and spreads what is tried again."""

    def __init__(self, client: str, chance: Callable[[], float]) -> None:
        self.client = client
        self.outbox: list[str] = []
        self.news: list[News] = []
        self.welcome: frames.WelcomePayload | None = None
        self.welcomed_at = 0.0
        """The time of ``welcome``."""
        self.goodbye: frames.GoodbyePayload | None = None
        self.replanned = False
        """Whether :meth:`next_work` may be sooner than it was. The driver sets it back."""
        self._chance = chance
        self._topics: dict[str, RemoteSubscription] = {}
        self._calls = UnansweredCalls(chance)
        self._asked: dict[int, RemoteSubscription] = {}
        self._refreshing: set[int] = set()
        self._user: str | None = None
        self._welcomed = False
        self._ref = 0
        self._heard = self._pinged = 0.0
        self._paused = False

    # ── the application ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, topic: str, since: Position | None, now: float) -> None:
        """Join a topic, from a position if one is given."""
        self._topics[topic] = RemoteSubscription(topic, since, self._chance)
        self.work(now)

    def leave(self, topic: str) -> None:
        """Leave a topic. There is no more news of it."""
        found = self._topics.pop(topic, None)
        if found is not None and found.on_server and self.welcome:
            self._send(frames.LeaveFrame(ref=self._next_ref(), topic=found.canonical))
        self._strand([topic])

    def _strand(self, topics: list[str]) -> None:
        """Answer the calls that cannot be sent any more: their topic is left. Those that were sent get the server's answer."""
        error = ClientError(codes.NOT_JOINED.name, "the topic was left before the call had an answer")
        for topic in topics:
            if topic not in self._topics:
                for call in self._calls.of(topic):
                    self._give_answer(call, error)

    def position(self, topic: str) -> Position | None:
        """Return how far the topic was read."""
        found = self._topics.get(topic)
        return None if found is None else found.position

    def call(self, topic: str, name: str, key: str | None, payload: dict[str, Any], now: float) -> int:
        """Call an action of a topic. Return the number under which the answer comes."""
        number = self._next_ref()
        self._calls.add(
            UnansweredCall(number, topic, name, key or f"{self.client}-{number}", _encode(payload))
        )
        self._strand([topic])
        self.work(now)
        return number

    def give_up(self, call: int) -> None:
        """Wait for the answer to a call no longer."""
        self._calls.forget(call)

    def refresh(self, token: str) -> int:
        """Give the server a newer token. Return the number under which the answer comes."""
        number = self._next_ref()
        if self.welcome is None:
            self._lose_refresh(number)
        else:
            self._refreshing.add(number)
            self._send(frames.RefreshFrame(ref=number, payload=frames.RefreshPayload(token=token)))
        return number

    # ── an application that is slow ──────────────────────────────────────────────────────────────────────────────────

    def hold_back(self, topic: str) -> None:
        """Drop the events of a topic from now on, because the application takes them too slowly. The position stays before them."""
        if found := self._topics.get(topic):
            found.held_back = True

    def let_through(self, topic: str, now: float) -> bool:
        """End :meth:`hold_back`. If events were dropped, join again from the position before them; on an ephemeral topic, report that
        events are missing. Return whether there were any."""
        found = self._topics.get(topic)
        if found is None or not found.held_back:
            return False
        found.held_back = False
        if found.dropped and found.position is None:
            self.news.append(StreamMoved(topic=topic, reason="interrupted"))
        elif found.dropped and found.state is JoinState.JOINED:
            found.state = JoinState.STALE
            self.work(now)
        dropped, found.dropped = found.dropped, False
        return dropped

    def pause(self) -> None:
        """The driver reads nothing for now, so silence says nothing about the server."""
        self._paused = True

    def resume(self, now: float) -> None:
        """The driver reads again."""
        self._paused, self._heard = False, now

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, token: str | None, now: float) -> None:
        """Begin a connection."""
        self.goodbye = None
        self._heard = self._pinged = now
        self._send(frames.HelloFrame(payload=frames.HelloPayload(client=self.client, token=token)))

    def lost(self, *, too_large: bool = False) -> None:
        """Note that the connection has ended. Requests without an answer are sent again on the next one. ``too_large`` says that the
        other side closed it because of the size of a message."""
        self.outbox.clear()
        self.welcome = None
        self._asked.clear()
        for topic in self._topics.values():
            topic.interrupted()
        for call in self._calls.interrupted(too_large=too_large):
            self._give_answer(call, _error_of(codes.TOO_LARGE))
        for number in self._refreshing:
            self._lose_refresh(number)
        self._refreshing.clear()
        self._strand([call.topic for call in self._calls.all()])

    def received(self, data: str | bytes, now: float) -> None:
        """Handle a message of the server. Raises ``msgspec.MsgspecError`` for one that cannot be read: drop the connection
        then, since to pass over a message might be to lose an event. A type of message that a newer server may send is ignored."""
        frame = decode(data)
        self._heard = now
        if frame is not None:
            self._handle(frame, now)
        self.work(now)

    def _handle(self, frame: frames.Outbound, now: float) -> None:
        match frame:
            case frames.WelcomeFrame():
                self.replanned = True
                self._take_welcome(frame.payload, now)
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

    def work(self, now: float) -> None:
        """Send what is due: joins, calls, a heartbeat."""
        if self.welcome is None:
            return
        for topic in self._topics.values():
            if now < topic.retry_at:
                continue
            if topic.state is JoinState.WAITING:
                self._ask(topic)
            elif topic.state is JoinState.STALE:
                self._leave_stale(topic)
        for call in self._calls.due(self.welcome.limits.calls, self._is_joined, now):
            self._send_call(call, self._topics[call.topic])
        if now >= self._pinged + self.welcome.heartbeat:
            self._ping(now)

    def next_work(self) -> float:
        """Return when :meth:`work` is due again, or :meth:`dead` may be true, at the latest."""
        silent = math.inf if self._paused else self._heard + self._patience
        if self.welcome is None:
            return silent
        due = (JoinState.WAITING, JoinState.STALE)
        waits = [topic.retry_at for topic in self._topics.values() if topic.state in due]
        return min([silent, self._pinged + self.welcome.heartbeat, *waits, *self._calls.next_due()])

    def dead(self, now: float) -> bool:
        """Whether the server has been silent for too long."""
        return not self._paused and now >= self._heard + self._patience

    @property
    def _patience(self) -> float:
        """Seconds of silence after which the connection counts as dead."""
        return DEAD_SECONDS if self.welcome is None else self.welcome.heartbeat + DEAD_SECONDS

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _next_ref(self) -> int:
        self._ref += 1
        return self._ref

    def _send(self, frame: frames.Inbound) -> None:
        self.outbox.append(_encode(frame).decode())

    def _ping(self, now: float) -> None:
        self._pinged = now
        self._send(frames.PingFrame())

    def _ask(self, topic: RemoteSubscription) -> None:
        topic.state, ref = JoinState.ASKED, self._next_ref()
        self._asked[ref] = topic
        payload = frames.JoinPayload(since=topic.position)
        self._send(frames.JoinFrame(ref=ref, topic=topic.asked, payload=payload))

    def _leave_stale(self, topic: RemoteSubscription) -> None:
        topic.state, ref = JoinState.LEAVING, self._next_ref()
        self._asked[ref] = topic
        self._send(frames.LeaveFrame(ref=ref, topic=topic.canonical))

    def _is_joined(self, topic: str) -> bool:
        found = self._topics.get(topic)
        return found is not None and found.state is JoinState.JOINED

    def _send_call(self, call: UnansweredCall, topic: RemoteSubscription) -> None:
        ref = self._next_ref()
        frame = frames.CallFrame(
            topic=topic.canonical, name=call.name, ref=ref, key=call.key, payload=msgspec.Raw(call.payload)
        )
        text = _encode(frame)
        if self.welcome is not None and len(text) > self.welcome.limits.message_bytes:
            self._give_answer(call, _error_of(codes.TOO_LARGE))
            return
        self._calls.sent(call, ref)
        self.outbox.append(text.decode())

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_welcome(self, welcome: frames.WelcomePayload, now: float) -> None:
        self.welcome, self.welcomed_at, self._pinged = welcome, now, now
        if self._welcomed and welcome.user != self._user:
            # What one user asked for must not be done in the name of another.
            for call in self._calls.all():
                self._give_answer(
                    call, ClientError("user_changed", "the connection belongs to another user now")
                )
            for topic in self._topics.values():
                topic.change_user()
        self._welcomed, self._user = True, welcome.user

    def _named(self, canonical: str) -> RemoteSubscription | None:
        found = self._topics.get(canonical)
        if found is not None and found.canonical == canonical:
            return found
        return next((topic for topic in self._topics.values() if topic.canonical == canonical), None)

    def _request(self, ref: int | None) -> RemoteSubscription | None:
        """Return the topic that an answer to a join or a leave is about, unless the application has left it since."""
        topic = None if ref is None else self._asked.pop(ref, None)
        return None if topic is None or self._topics.get(topic.asked) is not topic else topic

    def _joined(self, frame: frames.JoinedFrame) -> None:
        topic = self._request(frame.ref)
        if topic is None:
            return
        payload = frame.payload
        topic.state, topic.canonical = JoinState.JOINED, frame.topic
        topic.backoff.reset()
        recovered = payload.recovered if payload.recovered is not None else not topic.joined_before
        if not payload.recovered:
            topic.position = frames.position_of(payload)
        topic.joined_before = True
        topic.snapshots = topic.snapshots or payload.snapshot is not msgspec.UNSET
        self.news.append(Joined(topic=topic.asked, payload=payload))
        if not recovered:
            self.news.append(StreamMoved(topic=topic.asked, reason="lost"))

    def _event(self, frame: frames.EventFrame) -> None:
        topic = self._named(frame.topic)
        if topic is None or topic.state is not JoinState.JOINED:
            return
        if topic.held_back:
            topic.dropped = True
            return
        if frame.offset is not None and topic.position is not None:
            if frame.offset <= topic.position.offset:
                return
            topic.position = Position(epoch=topic.position.epoch, offset=frame.offset, stamp=frame.stamp)
        self.news.append(Arrived(topic=topic.asked, frame=frame))

    def _reset(self, frame: frames.ResetFrame) -> None:
        topic = self._named(frame.topic)
        if topic is None or topic.state is not JoinState.JOINED:
            return
        topic.position = frames.position_of(frame.payload)
        if topic.snapshots:
            topic.position, topic.state = None, JoinState.STALE
        self.news.append(StreamMoved(topic=topic.asked, reason=frame.payload.reason))

    def _left(self, frame: frames.LeftFrame, now: float) -> None:
        if frame.payload is None:
            if topic := self._request(frame.ref):
                topic.state = JoinState.WAITING
            return
        topic = self._named(frame.topic)
        if topic is None or topic.state not in (JoinState.JOINED, JoinState.STALE, JoinState.LEAVING):
            return  # it is about a subscription that the application has left and taken again
        self._refused(topic, ClientError.of(frame.payload), now)

    def _refused(self, topic: RemoteSubscription, error: ClientError, now: float) -> None:
        if error.retry:
            topic.put_off(error.retry_after, now)
            self.replanned = True
            return
        topic.state = JoinState.ENDED
        self._topics.pop(topic.asked, None)
        self.news.append(Ended(topic=topic.asked, error=error))
        for call in self._calls.of(topic.asked):
            self._give_answer(call, error)

    def _result(self, frame: frames.ResultFrame) -> None:
        if frame.ref in self._refreshing:
            self._refreshing.discard(frame.ref)
            self.news.append(Answered(call=frame.ref, result=bytes(frame.payload)))
        elif (answered := self._calls.answered(frame.ref)) and self._calls.forget(answered.number):
            self.news.append(Answered(call=answered.number, result=bytes(frame.payload)))

    def _error(self, frame: frames.ErrorFrame, now: float) -> None:
        error = ClientError.of(frame.payload)
        if frame.ref is None:
            if not error.retry:
                for call in self._calls.unread():
                    self._give_answer(call, error)
        elif frame.ref in self._refreshing:
            self._refreshing.discard(frame.ref)
            self.news.append(Answered(call=frame.ref, error=error))
        elif topic := self._request(frame.ref):
            if topic.state is JoinState.ASKED:
                self._refused(topic, error, now)
            elif topic.state is JoinState.LEAVING:
                self._not_left(topic, error, now)
        elif answered := self._calls.answered(frame.ref):
            if error.retry:
                self._calls.hold(answered, error, now)
                self.replanned = True
            else:
                self._give_answer(answered, error)

    def _not_left(self, topic: RemoteSubscription, error: ClientError, now: float) -> None:
        topic.put_off(error.retry_after, now)
        self.replanned = True
        if error.retry:
            topic.state = JoinState.STALE
        else:
            topic.retry_at = 0.0  # `not_joined` is as good: it can be joined

    def _give_answer(self, call: UnansweredCall, error: ClientError) -> None:
        if self._calls.forget(call.number):
            self.news.append(Answered(call=call.number, error=error))

    def _lose_refresh(self, number: int) -> None:
        error = ClientError("connection_lost", "the next connection asks for the token by itself")
        self.news.append(Answered(call=number, error=error))


def _error_of(code: codes.Code) -> ClientError:
    return ClientError(code.name, code.message)

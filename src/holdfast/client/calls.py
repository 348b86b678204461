"""Calls without an answer, without I/O: in which order, how many at once, and when again."""

from collections.abc import Callable, Iterator

from .errors import ClientError

RETRY_SECONDS = 1.0
"""Seconds after which something is sent again that the server could not do, if the server names no time."""


class UnansweredCall:
    """One call. ``ref`` is its reference on the present connection, if it was sent there."""

    __slots__ = ("key", "name", "number", "payload", "ref", "topic")

    def __init__(self, number: int, topic: str, name: str, key: str, payload: bytes) -> None:
        self.number = number
        self.topic = topic
        self.name = name
        self.key = key
        self.payload = payload
        self.ref: int | None = None


class UnansweredCalls:
    """The calls of one client, in the order in which they were made. They are sent in that order, and sent again in it.

    ``chance`` returns a number from 0 to 1. It spreads the calls of many clients that hit one limit.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._pending: dict[int, UnansweredCall] = {}
        self._sent: dict[int, UnansweredCall] = {}
        """By ``ref``. Calls that the application has given up run on the server until their answer comes."""
        self._held: dict[str, float] = {}
        """Times until which the calls of a topic wait."""
        self._suspects: set[int] = set()
        """Calls of which one may be what the server could not read. While there are any, calls are sent one at a time."""

    def add(self, call: UnansweredCall) -> None:
        self._pending[call.number] = call

    def due(self, places: int, joined: Callable[[str], bool], now: float) -> Iterator[UnansweredCall]:
        """Yield the calls to send now. ``places`` is how many may run at once. Say :meth:`sent` of each, or :meth:`forget` it."""
        self._held = {topic: until for topic, until in self._held.items() if until > now}
        places = 1 if self._suspects else places
        for call in list(self._pending.values()):
            if len(self._sent) >= places:
                return
            if call.ref is None and call.topic not in self._held and joined(call.topic):
                yield call

    def next_due(self) -> list[float]:
        """Return the times at which held calls are due."""
        return list(self._held.values())

    def sent(self, call: UnansweredCall, ref: int) -> None:
        call.ref = ref
        self._sent[ref] = call

    def answered(self, ref: int) -> UnansweredCall | None:
        """Return the call that this answer belongs to, if the application still waits for it."""
        call = self._sent.pop(ref, None)
        return None if call is None else self._pending.get(call.number)

    def hold(self, call: UnansweredCall, error: ClientError, now: float) -> None:
        """Send a call again later, and the calls of its topic after it."""
        call.ref = None
        until = now + (error.retry_after or RETRY_SECONDS) + self._chance()
        self._held[call.topic] = max(until, self._held.get(call.topic, 0.0))

    def forget(self, number: int) -> bool:
        """Remove a call. Return whether it was waiting."""
        self._suspects.discard(number)
        return self._pending.pop(number, None) is not None

    def of(self, topic: str) -> list[UnansweredCall]:
        """Return the calls of a topic that are not on the present connection."""
        return [call for call in self._pending.values() if call.topic == topic and call.ref is None]

    def all(self) -> list[UnansweredCall]:
        return list(self._pending.values())

    def interrupted(self, *, too_large: bool) -> list[UnansweredCall]:
        """Send all calls again on the next connection. If a message was ``too_large`` for the other side, send them one at a time,
        and return those that are known to be the one: they were alone."""
        if not too_large:
            self._suspects.clear()
        return self._again(suspect=too_large)

    def unread(self) -> list[UnansweredCall]:
        """The server could not read a message, and does not know which. Send the calls without an answer again, one at a time, which
        their keys allow. Return those that are known to be the one."""
        return self._again(suspect=True)

    def _again(self, *, suspect: bool) -> list[UnansweredCall]:
        guilty = []
        for call in self._pending.values():
            if suspect and call.ref is not None:
                if call.number in self._suspects:
                    guilty.append(call)
                self._suspects.add(call.number)
            call.ref = None
        self._sent.clear()
        return guilty

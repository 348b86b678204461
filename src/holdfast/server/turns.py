"""Reading of frames in turns of the event loop, within bounds of bytes, frames and time."""

import asyncio
from abc import abstractmethod

from .framing import ClientMessage, ProtocolError
from .limits import MESSAGE_SECONDS, PORTION_BYTES
from .parser import Parser


class TurnReader(asyncio.Protocol):
    """The reading half of a WebSocket's protocol object.

    One read of a socket can bring a quarter of a megabyte, which is tens of thousands of frames. In one turn of the loop a
    connection therefore handles :data:`PORTION_BYTES` and the frames that the parser's pace allows; reading pauses until the
    rest is handled in later turns. A message that is begun must end within :data:`MESSAGE_SECONDS`. An idle connection has
    neither a timer nor a buffer.
    """

    __slots__ = ("_delay", "_parser", "_transport", "_unread", "_watch")

    _delay: float
    _parser: Parser
    _transport: asyncio.Transport
    _unread: bytes | None
    _watch: asyncio.TimerHandle | None

    @abstractmethod
    def _take(self, messages: list[ClientMessage]) -> None:
        """Handle complete messages."""

    @abstractmethod
    def _fail(self, error: ProtocolError) -> None:
        """Close, because the client violates the protocol."""

    @abstractmethod
    def _overdue(self) -> None:
        """Close, because the client does not finish a message."""

    def _hold(self) -> None:
        """Pause reading."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _release(self) -> None:
        """Resume reading."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _stop_reading(self) -> None:
        """Drop what has arrived, and read nothing more."""
        self._parser.stop()
        if self._unread is None:
            self._hold()
        self._unread = None

    def data_received(self, data: bytes) -> None:
        if self._unread is None and len(data) <= PORTION_BYTES:
            self._read(data)
        else:
            self._put_off(data)

    def _read(self, data: bytes) -> None:
        try:
            messages = self._parser.feed(data)
        except ProtocolError as error:
            self._take(error.before)
            self._fail(error)
        else:
            self._take(messages)
            if not self._parser.between:
                self._go_on()

    def _go_on(self) -> None:
        """See to it that the rest of what is begun is handled, or arrives in time."""
        if self._parser.more:
            self._put_off(b"")
        elif self._watch is None and self._parser.unfinished:
            self._watch_message()

    def slow_down(self, seconds: float) -> None:
        """Handle nothing more for so many seconds. TCP then holds back what the client sends."""
        if self._unread is None:
            self._unread = b""
            self._hold()
            asyncio.get_running_loop().call_later(seconds, self._next_turn)
        else:
            self._delay = seconds  # a turn is under way, and delays the next one

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put_off(self, data: bytes) -> None:
        """Handle these bytes, and what the parser has left, in the next turn."""
        if self._unread is None:
            self._unread = data
            self._hold()
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif data:
            self._unread += data  # TLS delivers what it has decrypted even while reading is paused

    def _next_turn(self) -> None:
        unread = self._unread
        if unread is None:
            return  # it has stopped
        portion = b"" if self._parser.more else unread[:PORTION_BYTES]
        self._unread = unread[len(portion) :]
        self._read(portion)
        self._end_of_turn()

    def _end_of_turn(self) -> None:
        if self._unread is None:
            return  # it has stopped
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._next_turn)
            self._delay = 0.0
        elif self._unread or self._parser.more:
            asyncio.get_running_loop().call_soon(self._next_turn)
        else:
            self._unread = None
            self._release()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch_message(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(MESSAGE_SECONDS, self._look_again, self._parser.completed)

    def _look_again(self, completed: int) -> None:
        """Close if the message is still the same. The time of a later one begins now: that saves a timer per message."""
        self._watch = None
        if not self._parser.unfinished:
            return
        if self._parser.completed == completed and self._unread is None:
            self._overdue()
        else:
            self._watch_message()

    def _end_of_reading(self) -> None:
        """Let go of what a connection that is lost no longer needs."""
        self._unread = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

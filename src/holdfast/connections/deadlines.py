"""Deadlines of the replies that wait."""

import asyncio

from .pending_reply import PendingReply


class Deadlines:
    """Expires the replies that wait for longer than the timeout of their action. For one event loop at a time.

    Nearly every call ends long before its timeout, and a timer would be a good part of what a short call costs. Replies with the
    same timeout expire in the order in which they came, so that one timer is enough for all of them.
    """

    def __init__(self) -> None:
        self._queues: dict[float, _Queue] = {}

    def add(self, reply: PendingReply, seconds: float) -> None:
        """Expire a reply after ``seconds``, unless it is removed before."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = _Queue(seconds)
        queue.add(reply)

    def remove(self, reply: PendingReply, seconds: float) -> None:
        """Forget a reply, if it has not expired."""
        self._queues[seconds].replies.pop(reply, None)


class _Queue:
    """Replies with one timeout, each with the time when it expires, the oldest first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.replies: dict[PendingReply, float] = {}

    def add(self, reply: PendingReply) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the loop before is closed, and its timer with it
            self._loop, self._timer = loop, None
            self.replies.clear()
        self.replies[reply] = loop.time() + self._seconds
        if self._timer is None:
            self._set_timer(loop)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the oldest reply. After the last one is removed, the timer fires once more."""
        at = next(iter(self.replies.values()), None)
        self._timer = None if at is None else loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire the oldest reply if it is due. The next one has a turn of the loop to itself: an error in one does not reach it."""
        due = next((reply for reply, at in self.replies.items() if at <= loop.time()), None)
        if due is not None:
            del self.replies[due]
        self._set_timer(loop)
        if due is not None:
            due.expire()

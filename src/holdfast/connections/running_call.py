"""A call that runs, with the replies that wait for it."""

import asyncio

from .pending_reply import PendingReply
from .request import CallRequest


class RunningCall:
    """One attempt at a call. It has several replies if the client has sent a call with a key again. ``slot`` is where such a
    repetition finds it."""

    __slots__ = ("replies", "request", "slot", "task")

    task: asyncio.Task[None]

    def __init__(self, request: CallRequest, slot: tuple[str, str] | None) -> None:
        self.request = request
        self.slot = slot
        self.replies: list[PendingReply] = []

    def is_wanted(self) -> bool:
        """Whether the attempt, which has not begun, is to be made. For any thread.

        A client that is gone asks again for a call with a key, and for no other.
        """
        return self.request.key is not None or self.replies[0].wanted

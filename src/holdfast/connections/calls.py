"""Calls of actions. A call with a key is carried out once, however often the client sends it (:mod:`.attempts`)."""

import asyncio
from collections.abc import Awaitable

import msgspec

from holdfast.limits.base import Limiter
from holdfast.log.calls import CallStore
from holdfast.protocol import codes
from holdfast.threads.threads import Inline, Threads
from holdfast.threads.turns import Kind
from holdfast.topics.topic import Topic

from .attempts import Attempts
from .call_failures import PASSING, too_fast
from .caller import ConnectionCaller
from .joined_topic import JoinedTopic
from .pending_reply import Answered, IsOpen, PendingReply
from .request import CallFailed, CallRequest
from .stored_answers import AnswerLimits, StoredAnswers
from .unfinished import CallLimits, UnfinishedCalls


class Calls:
    """Runs the calls of one process's connections."""

    def __init__(
        self,
        store: CallStore,
        threads: Threads,
        log_threads: Threads | Inline,
        limiter: Limiter,
        limits: CallLimits | None = None,
        answers: AnswerLimits | None = None,
    ) -> None:
        self._threads = threads
        self._limiter = limiter
        self._attempt = Attempts(store, threads, log_threads)
        self._attempts: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._running: dict[asyncio.Task[bytes], CallRequest] = {}
        self._unfinished = UnfinishedCalls(limits or CallLimits())
        self._answers = StoredAnswers(store, log_threads, answers or AnswerLimits())

    def request(
        self,
        topic: Topic,
        caller: ConnectionCaller,
        name: str,
        key: str | None,
        payload: bytes,
        *,
        now: float,
        recheck: bool,
        permitted_since: float = float("inf"),
        joined: JoinedTopic | None = None,
    ) -> CallRequest:
        """Make a request, after the checks that need no rule and no database. ``payload`` is JSON. Raises :class:`CallFailed`."""
        action = topic.declared.actions.get(name)
        if action is None:
            raise CallFailed.of(codes.UNKNOWN_ACTION)
        try:
            arguments = action.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise CallFailed.of(codes.INVALID_PAYLOAD, detail=str(error)) from None
        payer = caller.limit_key
        key = caller.stored_key(key) if action.once and key is not None else None
        wait, limit = 0.0, None
        if action.rate is not None:
            taken = self._limiter.take((payer, type(topic), name), action.rate, now)
            if not isinstance(taken, float | int):
                limit = _running(taken)
            elif taken and key is None:
                raise too_fast(taken)
            else:
                wait = taken
        if key is not None:
            wait = max(wait, self._answers.wait(payer, now))
        return CallRequest(
            topic=topic,
            caller=caller,
            payer=payer,
            action=action,
            arguments=arguments,
            key=key,
            recheck=recheck,
            wait=wait,
            joined=joined,
            limit=limit,
            permitted=joined is not None and joined.permits(action, caller.identity, permitted_since),
            at=now,
        )

    def perform(self, request: CallRequest, answered: Answered, is_open: IsOpen) -> None:
        """Carry out a call, or find its earlier answer. Raises :class:`CallFailed` if too many calls are unfinished.

        ``answered`` is called in a later turn of the loop. A call that has begun goes on, even after its client got "timeout" as
        the answer, or has disconnected. A call that still waits for its turn then is dropped, unless it has a key: the client
        is going to ask for that one again.
        """
        reply = PendingReply(answered, is_open)
        attempt = self._attempt_at(request, reply)
        if request.action.timeout is not None:
            loop = asyncio.get_running_loop()
            reply.timer = loop.call_later(request.action.timeout, reply.expire)
        attempt.add_done_callback(reply.ended)

    def _attempt_at(self, request: CallRequest, reply: PendingReply) -> "asyncio.Task[bytes]":
        """Start the attempt, or return the one that runs here under the same key."""
        if request.key is None:
            return self._start(request, reply)
        slot = (request.caller.owner, request.key)
        attempt = self._attempts.get(slot)
        if attempt is None or attempt.get_name() != request.target:
            attempt = self._start(request)
            if slot not in self._attempts:
                self._attempts[slot] = attempt
                attempt.add_done_callback(lambda _: self._attempts.pop(slot, None))
        return attempt

    def _start(self, request: CallRequest, reply: PendingReply | None = None) -> "asyncio.Task[bytes]":
        """Start an attempt. ``reply`` is the only one that waits for it, if the call has no key."""
        payer = request.payer
        self._unfinished.begin(payer)
        task = asyncio.get_running_loop().create_task(
            self._attempt.answer(request, reply),
            name=request.target,
            context=self._threads.context((Kind.CALL, payer)),
        )
        self._running[task] = request
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[bytes]") -> None:
        request = self._running.pop(task)
        payer = request.payer
        self._unfinished.end(payer)
        if task.cancelled():
            return
        # Marks it as read: without a pending reply, asyncio would log it as never retrieved.
        error = task.exception()
        if request.key is None or request.wait:
            return
        if error is None or (isinstance(error, CallFailed) and error.payload.code not in PASSING):
            # An answer that was stored before counts as well, as the attempt does not say which it is.
            size = len(task.result()) if error is None else 0
            self._answers.add(payer, size, asyncio.get_running_loop().time())

    @property
    def running(self) -> int:
        """Return how many calls are running."""
        return len(self._running)

    async def finish(self) -> None:
        """Wait until no call is running."""
        while self._running:
            await asyncio.wait(self._running)


def _running(taken: Awaitable[float]) -> "asyncio.Future[float]":
    """Ask a limiter at once. An attempt under the same key may run already and never wait for the answer, so its error is read
    here; asyncio would report it as never retrieved."""
    limit = asyncio.ensure_future(taken)
    limit.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
    return limit

"""Calls of actions. A call with a key is carried out once, however often the client sends it (:mod:`.attempts`)."""

import asyncio
import logging
from collections.abc import Awaitable

import msgspec

from holdfast.limits.base import Limiter
from holdfast.log.calls import CallStore
from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol import codes
from holdfast.threads.threads import Inline, Threads
from holdfast.threads.turns import Kind
from holdfast.topics.topic import Topic

from .attempts import Attempts
from .call_failures import PASSING, too_fast
from .caller import ConnectionCaller
from .deadlines import Deadlines
from .joined_topic import JoinedTopic
from .pending_reply import Answered, IsOpen, PendingReply
from .request import CallFailed, CallRequest
from .running_call import RunningCall
from .stored_answers import AnswerLimits, StoredAnswers
from .unfinished import CallLimits, UnfinishedCalls

logger = logging.getLogger("holdfast.calls")


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
        self._attempts = Attempts(store, threads, log_threads)
        self._running: set[RunningCall] = set()
        self._by_key: dict[tuple[str, str], RunningCall] = {}
        self._deadlines = Deadlines()
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
        call = self._running_call(request)
        call.replies.append(reply)
        if request.action.timeout is not None:
            self._deadlines.add(reply, request.action.timeout)

    def _running_call(self, request: CallRequest) -> RunningCall:
        """Start an attempt, or return the one that runs here under the same key."""
        if request.key is None:
            return self._start(request, None)
        slot = (request.caller.owner, request.key)
        call = self._by_key.get(slot)
        if call is None or call.task.done():  # done: it was cancelled before its first step
            call = self._by_key[slot] = self._start(request, slot)
        elif call.request.target != request.target:
            call = self._start(request, None)
        return call

    def _start(self, request: CallRequest, slot: tuple[str, str] | None) -> RunningCall:
        self._unfinished.begin(request.payer)
        call = RunningCall(request, slot)
        call.task = asyncio.get_running_loop().create_task(
            self._run(call), context=self._threads.context((Kind.CALL, request.payer))
        )
        self._running.add(call)
        return call

    async def _run(self, call: RunningCall) -> None:
        """Make the attempt, and reply."""
        request = call.request
        outcome: bytes | CallFailed
        try:
            outcome = await self._attempts.answer(request, call.is_wanted)
        except CallFailed as failed:
            outcome = failed
        finally:  # also when the process ends
            self._ended(call)
        self._count_answer(request, outcome)
        for reply in call.replies:
            try:
                reply.end(outcome)
            except Exception as error:  # noqa: BLE001 - logged here, and the others get theirs
                message = "%s: the answer could not be passed on to a connection"
                log_limited(logger, logging.ERROR, place_of(error), message, request.target, error=error)

    def _ended(self, call: RunningCall) -> None:
        request = call.request
        self._running.discard(call)
        self._unfinished.end(request.payer)
        if call.slot is not None:
            del self._by_key[call.slot]
        if request.action.timeout is not None:
            for reply in call.replies:
                self._deadlines.remove(reply, request.action.timeout)

    def _count_answer(self, request: CallRequest, outcome: bytes | CallFailed) -> None:
        """Count an answer that was stored. One that was stored before counts as well, as the attempt does not say which it is."""
        if request.key is None or request.wait:
            return
        if isinstance(outcome, bytes):
            size = len(outcome)
        elif outcome.payload.code in PASSING:
            return
        else:
            size = 0
        self._answers.add(request.payer, size, asyncio.get_running_loop().time())

    @property
    def running(self) -> int:
        """Return how many calls are running."""
        return len(self._running)

    async def finish(self) -> None:
        """Wait until no call is running."""
        while tasks := [call.task for call in self._running if not call.task.done()]:
            await asyncio.wait(tasks)


def _running(taken: Awaitable[float]) -> "asyncio.Future[float]":
    """Ask a limiter at once. An attempt under the same key may run already and never wait for the answer, so its error is read
    here; asyncio would report it as never retrieved."""
    limit = asyncio.ensure_future(taken)
    limit.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
    return limit

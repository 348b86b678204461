"""Calls of actions. A call with a key is carried out once, however often the client sends it.

A ``def`` action runs in a worker thread inside one transaction, together with its idempotency record and the events that it
publishes: either all of them commit or none does. If none does, the error is stored as the answer in a separate
transaction, unless another attempt has succeeded by then; in that case all attempts get the answer of the other one.

An ``async def`` action runs on the event loop, where Django has no transactions. Its record is claimed before and answered
after the action. An attempt that a crash interrupts is not repeated but reported as ``outcome_unknown``.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import msgspec
from django.db import DatabaseError, transaction

from holdfast.limits.base import Limiter
from holdfast.log.calls import Answer, CallStore, Claim
from holdfast.protocol import codes
from holdfast.protocol.frames import ErrorPayload
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.threads.threads import Inline, Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.failures import Verdict, detail_of, field_errors, report, verdict_of
from holdfast.topics.refuse import Refuse
from holdfast.topics.topic import Topic

from .authorization import may_call, may_call_now, may_join
from .caller import ConnectionCaller
from .joined_topic import JoinedTopic
from .request import CallFailed, CallRequest

logger = logging.getLogger("holdfast.calls")

UNBOUNDED_CLAIM_SECONDS = 3600.0
PASSING = frozenset({codes.UNAVAILABLE.name, codes.RATE_LIMITED.name})
"""Temporary errors: the same call can succeed later. They are never stored as its answer."""

POLL_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)


Answered = Callable[[bytes | CallFailed], None]
"""Called with the outcome of a call: the result as JSON text, or the failure."""


class PendingReply:
    """A reply that is due when an attempt ends, or when it takes too long. (``asyncio.timeout`` and ``shield`` would need a
    task for each reply.)"""

    __slots__ = ("_answered", "timer")

    def __init__(self, answered: Answered) -> None:
        self._answered: Answered | None = answered
        self.timer: asyncio.TimerHandle | None = None

    def ended(self, attempt: "asyncio.Task[bytes]") -> None:
        if self.timer is not None:
            self.timer.cancel()
        if attempt.cancelled():
            return  # the process is ending
        error = attempt.exception()
        if error is None:
            self._answer(attempt.result())
        elif isinstance(error, CallFailed):  # _answer() raises no other Exception; the rest ends the process
            self._answer(error)

    def expire(self) -> None:
        self._answer(CallFailed.of(codes.TIMEOUT))

    def _answer(self, outcome: bytes | CallFailed) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(outcome)


class Calls:
    """Runs the calls of one process's connections."""

    def __init__(
        self, store: CallStore, threads: Threads, log_threads: Threads | Inline, limiter: Limiter
    ) -> None:
        self._store = store
        self._threads = threads
        self._log_threads = log_threads
        self._limiter = limiter
        self._attempts: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._running: set[asyncio.Task[bytes]] = set()

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
        joined: JoinedTopic | None = None,
    ) -> CallRequest:
        """Make a request, after the checks that need no rule and no database. ``payload`` is JSON. Raises :class:`CallFailed`."""
        action = topic.declared.actions.get(name)
        if action is None:
            raise CallFailed.of(codes.UNKNOWN_ACTION)
        try:
            arguments = action.decode(payload, "json")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise CallFailed.of(codes.INVALID_PAYLOAD, detail=str(error)) from None
        key = key if action.once else None
        wait, limit = 0.0, None
        if action.rate is not None:
            taken = self._limiter.take((caller.owner, type(topic), name), action.rate, now)
            if isinstance(taken, (float, int)):
                wait = taken
                if wait and key is None:
                    raise _too_fast(wait)
            else:
                limit = asyncio.ensure_future(taken)
                limit.add_done_callback(
                    _read
                )  # an attempt under the same key may run already, and not wait for it
        return CallRequest(
            topic=topic,
            caller=caller,
            action=action,
            arguments=arguments,
            key=key,
            recheck=recheck,
            wait=wait,
            joined=joined,
            limit=limit,
        )

    def perform(self, request: CallRequest, answered: Answered) -> None:
        """Carry out a call, or find its earlier answer.

        ``answered`` is called once, in a later turn of the loop. A call that has begun goes on, even after its client got
        "timeout" as the answer, or has disconnected.
        """
        reply = PendingReply(answered)
        if request.action.timeout is not None:
            loop = asyncio.get_running_loop()
            reply.timer = loop.call_later(request.action.timeout, reply.expire)
        self._attempt(request).add_done_callback(reply.ended)

    def _attempt(self, request: CallRequest) -> "asyncio.Task[bytes]":
        """Start the attempt, or return the one that runs here under the same key."""
        if request.key is None:
            return self._start(request)
        slot = (request.caller.owner, request.key)
        attempt = self._attempts.get(slot)
        if attempt is None or attempt.get_name() != request.target:
            attempt = self._start(request)
            if slot not in self._attempts:
                self._attempts[slot] = attempt
                attempt.add_done_callback(lambda _: self._attempts.pop(slot, None))
        return attempt

    def _start(self, request: CallRequest) -> "asyncio.Task[bytes]":
        task = asyncio.get_running_loop().create_task(
            self._answer(request), name=request.target, context=self._threads.context()
        )
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[bytes]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as read: without a pending reply, asyncio would log it as never retrieved

    @property
    def running(self) -> int:
        """Return how many calls are running."""
        return len(self._running)

    async def finish(self) -> None:
        """Wait until no call is running."""
        while self._running:
            await asyncio.wait(self._running)

    # ── one attempt ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: CallRequest) -> bytes:
        try:
            if request.limit is not None:
                request = msgspec.structs.replace(request, wait=await request.limit)
                if request.wait and request.key is None:
                    raise _too_fast(request.wait)
            if request.action.is_async:
                return await self._threads.handle_async(request.info, self._run_on_loop, request)
            await self._authorize(request)
            for pause in _pauses():
                outcome = await self._threads.handle(request.info, self._run_in_thread, request)
                answer = outcome if isinstance(outcome, bytes) else _verdict(outcome)
                if answer is not None:
                    return answer
                await asyncio.sleep(pause)
            raise AssertionError("the pauses never end")
        except CallFailed:
            raise
        except Exception as error:
            raise _failure(request, error) from error

    async def _authorize(self, request: CallRequest) -> None:
        """Ask the rules that cannot run inside the action's transaction."""
        topic, caller, action = request.topic, request.caller, request.action
        declared = topic.declared
        request.check_revoked()
        join_here = request.rechecks and (action.is_async or declared.may_join is Mode.LOOP)
        if join_here and not await may_join(self._threads, topic, caller.identity):
            raise CallFailed.of(codes.FORBIDDEN, expelled=True)
        call_here = action.is_async or declared.may_call is Mode.LOOP
        if call_here and not await may_call(self._threads, topic, caller, action.name):
            raise CallFailed.of(codes.FORBIDDEN)

    def _run_in_thread(self, request: CallRequest) -> bytes | Claim:
        """Return the answer, or the claim of the attempt that has it. Runs in a worker thread."""
        try:
            return self._run_in_transaction(request)
        except Exception as error:
            failure = _failure(request, error)
            if request.key is None or failure.payload.code in PASSING:
                raise failure from error
            claim = self._answer_with(request, failure)
            if claim is None:
                raise failure from error
            return claim

    def _run_in_transaction(self, request: CallRequest) -> bytes | Claim:
        """Claim the key, ask the rules, run the action and store the answer, in one transaction."""
        topic, caller, action = request.topic, request.caller, request.action
        with transaction.atomic(using=self._store.alias):
            if request.key is not None:
                claim = self._claim_inside(request)
                if not claim.mine:
                    return claim
                if request.wait:
                    raise _too_fast(request.wait)
            request.check_revoked()
            allowed = may_call_now(topic, caller, action.name, recheck=request.rechecks)
            if not allowed:
                raise CallFailed.of(codes.FORBIDDEN, expelled=allowed is None)
            result = action.encode_result(action.function(topic, caller, **request.arguments))
            if request.key is not None:
                self._store.answer(caller.owner, request.key, Answer(payload=result))
        return result

    def _answer_with(self, request: CallRequest, failure: CallFailed) -> Claim | None:
        """Store an error as the answer; or return the claim of another attempt that came after this one's rollback."""
        assert request.key is not None
        try:
            with transaction.atomic(using=self._store.alias):
                claim = self._claim_inside(request)
                if not claim.mine:
                    return claim
                self._store.answer(request.caller.owner, request.key, _failed(failure))
        except Exception:
            logger.exception(
                "%s: the error could not be stored as the answer; if the client sends the call again, it is carried out again",
                request.target,
            )
        return None

    async def _run_on_loop(self, request: CallRequest) -> bytes:
        key, caller = request.key, request.caller
        await self._authorize(request)
        if key is not None:
            earlier = await self._claim_or_wait(request)
            if earlier is not None:
                return earlier
        try:
            request.check_revoked()  # the claim may have waited for long
            value = await request.action.function(request.topic, caller, **request.arguments)
            answer = Answer(payload=request.action.encode_result(value))
        except Exception as error:
            failure = _failure(request, error)
            if key is not None and failure.payload.code in PASSING:
                # The claim is committed, and it is unknown what the action has done. "Try again" would only ever get the
                # answer that is stored under the key.
                failure = CallFailed.of(codes.OUTCOME_UNKNOWN)
            await self._keep(request, _failed(failure))
            raise failure from error
        await self._keep(request, answer)
        return answer.payload

    async def _keep(self, request: CallRequest, answer: Answer) -> None:
        """Store the answer. The action has run: if this fails, the client gets ``outcome_unknown`` when it sends the call again."""
        if request.key is None:
            return
        try:
            await self._log_threads.run(self._store.answer, request.caller.owner, request.key, answer)
        except Exception:
            logger.exception(
                "%s: the answer could not be stored; if the client sends the call again, it gets outcome_unknown",
                request.target,
            )

    def _claim(self, request: CallRequest) -> Claim:
        seconds = request.action.timeout or UNBOUNDED_CLAIM_SECONDS
        assert request.key is not None
        for owner in request.caller.earlier_owners:
            claim = self._store.claim(owner, request.key, request.target, seconds=seconds)
            if not claim.mine:
                return claim
            self._store.release(owner, request.key)
        return self._store.claim(request.caller.owner, request.key, request.target, seconds=seconds)

    def _claim_inside(self, request: CallRequest) -> Claim:
        """Claim the key inside the action's transaction. An attempt that has just committed in another process can be a
        conflict here. Then this attempt has done nothing, and the next look finds the other's answer."""
        try:
            return self._claim(request)
        except DatabaseError as error:
            if not self._store.conflict(error):
                raise
            transaction.set_rollback(True, using=self._store.alias)
            return Claim(running=True)

    async def _claim_or_wait(self, request: CallRequest) -> bytes | None:
        """Claim the call and return ``None``, or wait for the answer of another attempt and return that."""
        for pause in _pauses():
            claim = await self._log_threads.run(self._claim, request)
            if claim.mine:
                if request.wait:
                    assert request.key is not None
                    await self._log_threads.run(self._store.release, request.caller.owner, request.key)
                    raise _too_fast(request.wait)
                return None
            answer = _verdict(claim)
            if answer is not None:
                return answer
            await asyncio.sleep(pause)
        raise AssertionError("the pauses never end")


def _read(limit: "asyncio.Future[float]") -> None:
    """Read the error of a limiter, so that asyncio does not report it as never retrieved."""
    if not limit.cancelled():
        limit.exception()


def _too_fast(wait: float) -> CallFailed:
    return CallFailed.of(codes.RATE_LIMITED, retry_after=round(wait, 3))


def _failed(failure: CallFailed) -> Answer:
    return Answer(payload=msgspec.json.encode(failure.payload), failed=True)


def _pauses() -> Iterator[float]:
    """Yield the seconds to wait between two looks for the answer of an attempt in another process."""
    return chain(POLL_SECONDS, repeat(POLL_SECONDS[-1]))


def _verdict(claim: Claim) -> bytes | None:
    """Return the answer to a call that another attempt has claimed; ``None`` while it is running."""
    if claim.reused:
        raise CallFailed.of(codes.KEY_REUSED)
    if claim.lost:
        raise CallFailed.of(codes.OUTCOME_UNKNOWN)
    if claim.answer is None:
        return None
    if claim.answer.failed:
        raise CallFailed(msgspec.json.decode(claim.answer.payload, type=ErrorPayload))
    return claim.answer.payload


def _failure(request: CallRequest, error: Exception) -> CallFailed:
    """Return the failure that the client gets for an error in an action. Log the error for the developer."""
    match error:
        case CallFailed():
            return error
        case Refuse():
            message = error.message or codes.REFUSED.message
            return CallFailed(
                ErrorPayload(
                    code=codes.REFUSED.name,
                    message=message,
                    reason=error.reason,
                    retry_after=error.retry_after,
                )
            )
    what = f"{type(request.topic).__name__}.{request.action.name} failed for {request.caller!r}"
    verdict = verdict_of(error)
    if verdict is Verdict.INVALID:
        errors = field_errors(error)
        logger.info("%s: not valid: %s", what, ", ".join(errors))
        return CallFailed.of(codes.INVALID_PAYLOAD, errors=errors)
    if verdict is Verdict.MISSING:
        logger.info("%s: not found: %s", what, error)
        return CallFailed.of(codes.NOT_FOUND)
    report(logger, what, error)
    if verdict is Verdict.UNAVAILABLE:  # rolled back, or unknown: sending the same key again finds out
        return CallFailed.of(codes.UNAVAILABLE, retry_after=RETRY_SECONDS)
    if verdict is Verdict.DENIED:
        return CallFailed.of(codes.FORBIDDEN)
    return CallFailed.of(codes.INTERNAL, detail=detail_of(error) or "")

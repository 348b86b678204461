"""One attempt at a call: rules, idempotency record, action, answer.

A ``def`` action runs in a worker thread inside one transaction, together with its idempotency record and the events that it
publishes: either all of them commit or none does. If none does, the error is stored as the answer in a separate
transaction, unless another attempt has succeeded by then; in that case all attempts get the answer of the other one.

An ``async def`` action runs on the event loop, where Django has no transactions. Its record is claimed before and answered
after the action. An attempt that a crash interrupts is not repeated but reported as ``outcome_unknown``.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import msgspec
from django.db import transaction

from holdfast.log.calls import Answer, CallStore, Claim
from holdfast.process.limited_log import log_limited, place_of
from holdfast.protocol import codes
from holdfast.protocol.frames import ErrorPayload
from holdfast.threads.threads import Inline, Threads
from holdfast.topics.declaration import Mode

from .authorization import admits, may_call, may_call_now
from .call_failures import PASSING, failure_of, too_fast
from .claims import claim_inside, pauses
from .request import CallFailed, CallRequest

logger = logging.getLogger("holdfast.calls")

UNBOUNDED_CLAIM_SECONDS = 3600.0


class Attempts:
    """Makes attempts at the calls of one process."""

    def __init__(self, store: CallStore, threads: Threads, log_threads: Threads | Inline) -> None:
        self._store = store
        self._threads = threads
        self._log_threads = log_threads

    async def answer(self, request: CallRequest, is_wanted: Callable[[], bool]) -> bytes:
        """Carry the call out, or find its earlier answer. Raises :class:`CallFailed`, and no other ``Exception``.

        ``is_wanted`` is asked in the worker thread, when it is the call's turn there.
        """
        try:
            if request.limit is not None:
                request = msgspec.structs.replace(request, wait=max(request.wait, await request.limit))
            if request.wait:
                return await self._earlier(request)
            if request.action.is_async:
                return await self._threads.handle_async(request.info, self._run_on_loop, request)
            await self._authorize(request)
            for pause in pauses():
                outcome = await self._threads.handle(request.info, self._run_in_thread, request, is_wanted)
                answer = outcome if isinstance(outcome, bytes) else _verdict(outcome)
                if answer is not None:
                    return answer
                await asyncio.sleep(pause)
            raise AssertionError("the pauses never end")
        except CallFailed:
            raise
        except Exception as error:
            raise failure_of(request, error) from error

    async def _earlier(self, request: CallRequest) -> bytes:
        """Return the answer of an earlier attempt at a call that is beyond its rate. It costs a plain read, and writes nothing."""
        if request.key is None:
            raise too_fast(request.wait)
        for pause in pauses():
            claim = await self._log_threads.run(self._find, request)
            if claim is None:
                raise too_fast(request.wait)
            answer = _verdict(claim)
            if answer is not None:
                return answer
            await asyncio.sleep(pause)
        raise AssertionError("the pauses never end")

    def _find(self, request: CallRequest) -> Claim | None:
        assert request.key is not None
        for owner in (request.caller.owner, *request.caller.earlier_owners):
            claim = self._store.find(owner, request.key, request.target)
            if claim is not None:
                return claim
        return None

    async def _authorize(self, request: CallRequest) -> None:
        """Ask the rules that cannot run inside the action's transaction."""
        topic, caller, action = request.topic, request.caller, request.action
        declared = topic.declared
        request.check_revoked()
        join_here = request.rechecks and (action.is_async or not declared.admits_in_thread)
        if join_here and not await admits(self._threads, topic, caller.identity):
            raise CallFailed.of(codes.FORBIDDEN, expelled=True)
        if not action.is_async and declared.may_call is not Mode.LOOP:
            return  # asked in the thread
        permitted = request.permitted_now or not action.is_async
        if permitted and declared.may_call is None:
            return
        if not await may_call(self._threads, topic, caller, action, permitted=permitted):
            raise CallFailed.of(codes.FORBIDDEN)

    def _run_in_thread(self, request: CallRequest, is_wanted: Callable[[], bool]) -> bytes | Claim:
        """Return the answer, or the claim of the attempt that has it. Runs in a worker thread."""
        if not is_wanted():
            raise CallFailed.of(codes.UNAVAILABLE)
        try:
            return self._run_in_transaction(request)
        except Exception as error:
            failure = failure_of(request, error)
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
                claim = claim_inside(self._store, partial(self._claim, request))
                if not claim.mine:
                    return claim
            request.check_revoked()
            allowed = may_call_now(
                topic, caller, action, recheck=request.rechecks, permitted=request.permitted_now
            )
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
                claim = claim_inside(self._store, partial(self._claim, request))
                if not claim.mine:
                    return claim
                self._store.answer(request.caller.owner, request.key, _failed(failure))
        except Exception as error:  # noqa: BLE001 - logged here
            message = "%s: the error could not be stored as the answer; if the client sends the call again, it is carried out again"
            log_limited(logger, logging.ERROR, place_of(error), message, request.target, error=error)
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
            failure = failure_of(request, error)
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
        except Exception as error:  # noqa: BLE001 - logged here
            message = "%s: the answer could not be stored; if the client sends the call again, it gets outcome_unknown"
            log_limited(logger, logging.ERROR, place_of(error), message, request.target, error=error)

    def _claim(self, request: CallRequest) -> Claim:
        seconds = request.action.timeout or UNBOUNDED_CLAIM_SECONDS
        assert request.key is not None
        for owner in request.caller.earlier_owners:
            claim = self._store.claim(owner, request.key, request.target, seconds=seconds)
            if not claim.mine:
                return claim
            self._store.release(owner, request.key)
        return self._store.claim(request.caller.owner, request.key, request.target, seconds=seconds)

    async def _claim_or_wait(self, request: CallRequest) -> bytes | None:
        """Claim the call and return ``None``, or wait for the answer of another attempt and return that."""
        for pause in pauses():
            claim = await self._log_threads.run(self._claim, request)
            if claim.mine:
                return None
            answer = _verdict(claim)
            if answer is not None:
                return answer
            await asyncio.sleep(pause)
        raise AssertionError("the pauses never end")


def _failed(failure: CallFailed) -> Answer:
    return Answer(payload=msgspec.json.encode(failure.payload), failed=True)


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

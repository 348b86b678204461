"""Authorization: asks the topic's own rules. A topic without ``may_join`` admits no client."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings

from holdfast.auth.base import Identity
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.failures import means_no, report
from holdfast.topics.refuse import Refuse
from holdfast.topics.topic import Topic

from .caller import ConnectionCaller

logger = logging.getLogger("holdfast.connections")

PAIRS = 50
"""Rules that are asked in one visit to a worker thread. Other work for that thread waits until the visit ends."""

RULES_SECONDS = 20.0
"""Greatest duration of one visit, in seconds."""


def _asked(topic: Topic, identity: Identity) -> tuple[Any, ...]:
    """Return the arguments of ``may_join``: the user, and the identity if the rule takes it."""
    return (identity.user, identity) if topic.declared.may_join_takes_identity else (identity.user,)


async def may_join(threads: Threads, topic: Topic, identity: Identity) -> bool:
    """Return whether the topic admits this user. A rule says no by its answer, or by an exception that means no
    (:func:`~holdfast.topics.failures.means_no`). Raises any other exception of the rule."""
    if not identity.covers(topic.name):
        return False
    rule: Any = topic
    info = HandlerInfo(host=identity.host, topic=topic)
    try:
        match topic.declared.may_join:
            case Mode.LOOP:
                return bool(await threads.handle_async(info, rule.may_join, *_asked(topic, identity)))
            case Mode.THREAD:
                return bool(await threads.handle(info, rule.may_join, *_asked(topic, identity)))
            case None:
                return False
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        return _refused(topic, "may_join", error)


class Pair(NamedTuple):
    """A topic, and a user who asks to join it."""

    topic: Topic
    identity: Identity

    @property
    def info(self) -> HandlerInfo:
        return HandlerInfo(host=self.identity.host, topic=self.topic)

    @property
    def key(self) -> tuple[object, ...]:
        """Key of the pairs that share one call of the rule: those of one user at one host, or of one identity if the rule takes it."""
        topic, identity = self
        if topic.declared.may_join_takes_identity:
            return topic.name, id(identity)
        return topic.name, identity.user_id, identity.host


async def may_all_join(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    """The same as :func:`may_join`, for many pairs at once. Rules that are a ``def`` are asked in few visits to a worker
    thread. If a rule gives no answer, its error stands in place of it; ``TimeoutError`` if the rule took too long."""
    answers: dict[int, bool | Exception] = {}
    in_thread = [index for index, pair in enumerate(pairs) if pair.topic.declared.may_join is Mode.THREAD]
    while in_thread:
        some = in_thread[:PAIRS]
        given = await _ask_in_thread(threads, [pairs[index] for index in some])
        answers.update(zip(some, given, strict=False))
        in_thread = in_thread[len(given) :]  # rules that a slow one has delayed come next
    for index, pair in enumerate(pairs):
        if index not in answers:
            answers[index] = await _ask_one(threads, pair)
    return [answers[index] for index in range(len(pairs))]


async def _ask_in_thread(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    """Ask the rules in one visit. If it takes too long, return the answers so far, and a ``TimeoutError`` for the rule that was
    running; at least one answer."""
    visit = Visit(pairs)
    try:
        async with asyncio.timeout(RULES_SECONDS):
            given = await threads.handle_many(visit.handlers())
    except TimeoutError as error:
        return visit.give_up(error)
    except Exception as error:  # noqa: BLE001 - it is the answer to all pairs
        return [error] * len(pairs)
    # Exceptions of rules have been converted already. Those that remain come from the project's context manager.
    return [
        _meant(pair.topic, answer) if isinstance(answer, Exception) else answer
        for pair, answer in zip(pairs, given, strict=True)
    ]


class Visit:
    """Rules that one worker thread asks one after the other. The event loop can read the answers so far at any time."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._answers: dict[int, bool | Exception] = {}
        self._begun = 0
        self._over = False

    def handlers(self) -> "list[tuple[HandlerInfo, Callable[[], bool | Exception]]]":
        """Return the calls for the worker thread, each with its own handler context."""
        return [(pair.info, partial(self._ask, index)) for index, pair in enumerate(self._pairs)]

    def _ask(self, index: int) -> bool | Exception:
        if self._over:
            return False  # the event loop has given up, and does not read this
        self._begun = index + 1
        answer = self._answers[index] = _ask_now(self._pairs[index])
        return answer

    def give_up(self, error: TimeoutError) -> list[bool | Exception]:
        """Ask no further rule. Return the answers so far, and ``error`` for the rule that is running; ``error`` for all rules if
        no thread was free to begin. For the event loop."""
        self._over = True
        answers, begun = dict(self._answers), self._begun
        if not begun:
            return [error] * len(self._pairs)
        if begun - 1 in answers:  # the context of the next rule is being entered
            begun += 1
        return [answers.get(index, error) for index in range(min(begun, len(self._pairs)))]


def _ask_now(pair: Pair) -> bool | Exception:
    rule: Any = pair.topic
    try:
        return bool(rule.may_join(*_asked(pair.topic, pair.identity)))
    except Exception as error:  # noqa: BLE001 - it is the answer
        return _meant(pair.topic, error)


async def _ask_one(threads: Threads, pair: Pair) -> bool | Exception:
    try:
        async with asyncio.timeout(RULES_SECONDS):
            asked = may_join(threads, pair.topic, pair.identity)
            return await asyncio.get_running_loop().create_task(asked, context=threads.context())
    except Exception as error:  # noqa: BLE001 - it is the answer
        return error


async def may_call(threads: Threads, topic: Topic, caller: ConnectionCaller, action: str) -> bool:
    """Return whether the topic lets this caller, which it has admitted, call this action."""
    rule: Any = topic
    info = HandlerInfo(host=caller.identity.host, topic=topic)
    try:
        match topic.declared.may_call:
            case Mode.LOOP:
                return bool(await threads.handle_async(info, rule.may_call, caller, action))
            case Mode.THREAD:
                return bool(await threads.handle(info, rule.may_call, caller, action))
            case None:
                return True
    except Refuse:
        raise  # the caller gets its reason
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        return _refused(topic, "may_call", error)


def may_call_now(topic: Topic, caller: ConnectionCaller, action: str, *, recheck: bool) -> "bool | None":
    """Ask those of the same rules that are a ``def``, from a worker thread.

    ``None`` means that ``may_join`` no longer admits the caller.
    """
    rule: Any = topic
    if recheck and not caller.identity.covers(topic.name):
        return None
    try:
        in_thread = recheck and topic.declared.may_join is Mode.THREAD
        if in_thread and not rule.may_join(*_asked(topic, caller.identity)):
            return None
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        _refused(topic, "may_join", error)
        return None
    try:
        return topic.declared.may_call is not Mode.THREAD or bool(rule.may_call(caller, action))
    except Refuse:
        raise
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        return _refused(topic, "may_call", error)


def _refused(topic: Topic, rule: str, error: Exception) -> bool:
    """Return ``False`` if the exception that a rule raised means no; else raise it."""
    if not means_no(error):
        raise error
    report(logger, f"{topic!r}.{rule} raised", error, no=logging.WARNING if settings.DEBUG else logging.INFO)
    return False


def _meant(topic: Topic, error: Exception) -> bool | Exception:
    """The answer that an exception of ``may_join`` stands for: ``False``, or the exception itself."""
    return _refused(topic, "may_join", error) if means_no(error) else error

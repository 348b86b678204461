"""Asking a topic's own rules. No rule, no entry."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings

from holdfast.hub.surroundings import HandlerInfo
from holdfast.hub.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.refuse import Refuse
from holdfast.topics.topic import Topic

from .caller import Caller
from .failures import means_no, report

logger = logging.getLogger("holdfast.connections")

PAIRS = 50
"""Rules that are asked in one visit to a worker thread, which others wait for meanwhile."""

RULES_SECONDS = 20.0
"""Seconds that one visit may take."""


async def may_join(threads: Threads, topic: Topic, user: Any, host: str | None = None) -> bool:
    """Does the topic admit this user? A rule says no by its answer, or by an exception that means no
    (:func:`~.failures.means_no`). Any other exception is raised."""
    rule: Any = topic
    info = HandlerInfo(host=host, topic=topic)
    try:
        match topic.declared.may_join:
            case Mode.LOOP:
                return bool(await threads.handle_async(info, rule.may_join, user))
            case Mode.THREAD:
                return bool(await threads.handle(info, rule.may_join, user))
            case None:
                return False
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        return _refused(topic, "may_join", error)


class Pair(NamedTuple):
    """A topic and somebody who may or may not be let in."""

    topic: Topic
    user: Any
    host: str | None = None

    @property
    def info(self) -> HandlerInfo:
        return HandlerInfo(host=self.host, topic=self.topic)


async def may_all_join(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    """As :func:`may_join`, for many at once: the rules that are a ``def`` are asked in few visits to a worker thread. In
    place of an answer that a rule did not give, its error; ``TimeoutError`` if it took too long."""
    answers: dict[int, bool | Exception] = {}
    in_thread = [place for place, pair in enumerate(pairs) if pair.topic.declared.may_join is Mode.THREAD]
    while in_thread:
        some = in_thread[:PAIRS]
        given = await _ask_in_thread(threads, [pairs[place] for place in some])
        answers.update(zip(some, given, strict=False))
        in_thread = in_thread[len(given) :]  # those that a slow rule kept from being asked have their turn
    for place, pair in enumerate(pairs):
        if place not in answers:
            answers[place] = await _ask_one(threads, pair)
    return [answers[place] for place in range(len(pairs))]


async def _ask_in_thread(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    """Ask in one visit. If that takes too long, return the answers until then, with a ``TimeoutError`` for the rule that was
    being asked; at least one."""
    visit = Visit(pairs)
    try:
        async with asyncio.timeout(RULES_SECONDS):
            given = await threads.handle_many(visit.handlers())
    except TimeoutError as error:
        return visit.give_up(error)
    except Exception as error:  # noqa: BLE001 - it is the answer, for all of them
        return [error] * len(pairs)
    # A rule's exception has been given its meaning; those that are left are of the project's context manager.
    return [
        _meant(pair.topic, answer) if isinstance(answer, Exception) else answer
        for pair, answer in zip(pairs, given, strict=True)
    ]


class Visit:
    """Rules that one worker thread asks, one after the other. What it has found out so far can be read at any time."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._answers: dict[int, bool | Exception] = {}
        self._begun = 0
        self._over = False

    def handlers(self) -> "list[tuple[HandlerInfo, Callable[[], bool | Exception]]]":
        """What the worker thread calls, each in surroundings of its own."""
        return [(pair.info, partial(self._ask, place)) for place, pair in enumerate(self._pairs)]

    def _ask(self, place: int) -> bool | Exception:
        if self._over:
            return False  # no one reads it
        self._begun = place + 1
        answer = self._answers[place] = _ask_now(self._pairs[place])
        return answer

    def give_up(self, error: TimeoutError) -> list[bool | Exception]:
        """On the event loop: ask no further rule. Return the answers so far, and ``error`` for the rule under way; for all of
        them, if no thread was free to begin."""
        self._over = True
        answers, begun = dict(self._answers), self._begun
        if not begun:
            return [error] * len(self._pairs)
        if begun - 1 in answers:  # the next one's surroundings are under way
            begun += 1
        return [answers.get(place, error) for place in range(min(begun, len(self._pairs)))]


def _ask_now(pair: Pair) -> bool | Exception:
    rule: Any = pair.topic
    try:
        return bool(rule.may_join(pair.user))
    except Exception as error:  # noqa: BLE001 - it is the answer
        return _meant(pair.topic, error)


async def _ask_one(threads: Threads, pair: Pair) -> bool | Exception:
    try:
        async with asyncio.timeout(RULES_SECONDS):
            asked = may_join(threads, pair.topic, pair.user, pair.host)
            return await asyncio.get_running_loop().create_task(asked, context=threads.context())
    except Exception as error:  # noqa: BLE001 - it is the answer
        return error


async def may_call(threads: Threads, topic: Topic, caller: Caller, action: str) -> bool:
    """Does the topic let this caller, whom it admitted, call this action?"""
    rule: Any = topic
    info = HandlerInfo(host=caller.host, topic=topic)
    try:
        match topic.declared.may_call:
            case Mode.LOOP:
                return bool(await threads.handle_async(info, rule.may_call, caller, action))
            case Mode.THREAD:
                return bool(await threads.handle(info, rule.may_call, caller, action))
            case None:
                return True
    except Refuse:
        raise  # its reason is for the caller
    except Exception as error:  # noqa: BLE001 - raised there unless it means no
        return _refused(topic, "may_call", error)


def may_call_now(topic: Topic, caller: Caller, action: str, *, recheck: bool) -> "bool | None":
    """The same rules from a worker thread, as far as they are ``def``.

    ``None`` says that the caller may not even be here any more.
    """
    rule: Any = topic
    try:
        if recheck and topic.declared.may_join is Mode.THREAD and not rule.may_join(caller.user):
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

"""Asking a topic's own rules. No rule, no entry."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast.hub.surroundings import HandlerInfo
from holdfast.hub.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.topic import Topic

from .caller import Caller

PAIRS = 50
"""Rules that are asked in one visit to a worker thread, which others wait for meanwhile."""

RULES_SECONDS = 20.0
"""How long one visit may take."""


async def may_join(threads: Threads, topic: Topic, user: Any, host: str | None = None) -> bool:
    """Does the topic admit this user? An error in the rule is the rule's author's, and is raised."""
    rule: Any = topic
    match topic.declared.may_join:
        case Mode.LOOP:
            return bool(await threads.handle_async(HandlerInfo(host=host, topic=topic), rule.may_join, user))
        case Mode.THREAD:
            return bool(await threads.handle(HandlerInfo(host=host, topic=topic), rule.may_join, user))
        case None:
            return False


class Pair(NamedTuple):
    """A topic and somebody who may or may not be let in."""

    topic: Topic
    user: Any
    host: str | None = None

    @property
    def info(self) -> HandlerInfo:
        return HandlerInfo(host=self.host, topic=self.topic)

    def ask(self) -> bool:
        """Ask the rule, a ``def``."""
        rule: Any = self.topic
        return bool(rule.may_join(self.user))


async def may_all_join(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    """As :func:`may_join`, for many at once: the rules that are a ``def`` are asked in few visits to a worker thread. In
    place of an answer that a rule did not give, its error; ``TimeoutError`` if it took too long."""
    answers: dict[int, bool | Exception] = {}
    in_thread = [place for place, pair in enumerate(pairs) if pair.topic.declared.may_join is Mode.THREAD]
    for start in range(0, len(in_thread), PAIRS):
        some = in_thread[start : start + PAIRS]
        answers.update(
            zip(some, await _ask_in_thread(threads, [pairs[place] for place in some]), strict=True)
        )
    for place, pair in enumerate(pairs):
        if place not in answers:
            answers[place] = await _ask_one(threads, pair)
    return [answers[place] for place in range(len(pairs))]


async def _ask_in_thread(threads: Threads, pairs: Sequence[Pair]) -> list[bool | Exception]:
    try:
        async with asyncio.timeout(RULES_SECONDS):
            return await threads.handle_many([(pair.info, pair.ask) for pair in pairs])
    except Exception as error:  # noqa: BLE001 - it is the answer, for all of them
        return [error] * len(pairs)


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
    match topic.declared.may_call:
        case Mode.LOOP:
            return bool(await threads.handle_async(info, rule.may_call, caller, action))
        case Mode.THREAD:
            return bool(await threads.handle(info, rule.may_call, caller, action))
        case None:
            return True


def may_call_now(topic: Topic, caller: Caller, action: str, *, recheck: bool) -> "bool | None":
    """The same rules from a worker thread, as far as they are ``def``.

    ``None`` says that the caller may not even be here any more.
    """
    rule: Any = topic
    if recheck and topic.declared.may_join is Mode.THREAD and not rule.may_join(caller.user):
        return None
    return topic.declared.may_call is not Mode.THREAD or bool(rule.may_call(caller, action))

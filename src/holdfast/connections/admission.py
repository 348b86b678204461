"""Asking a topic's own rules. No rule, no entry."""

from typing import Any

from holdfast.hub.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.topic import Topic

from .caller import Caller


async def may_join(threads: Threads, topic: Topic, user: Any) -> bool:
    """Does the topic admit this user? An error in the rule is the rule's author's, and is raised."""
    rule: Any = topic
    match topic.declared.may_join:
        case Mode.LOOP:
            return bool(await rule.may_join(user))
        case Mode.THREAD:
            return bool(await threads.run(rule.may_join, user))
        case None:
            return False


async def may_call(threads: Threads, topic: Topic, caller: Caller, action: str) -> bool:
    """Does the topic let this caller, whom it admitted, call this action?"""
    rule: Any = topic
    match topic.declared.may_call:
        case Mode.LOOP:
            return bool(await rule.may_call(caller, action))
        case Mode.THREAD:
            return bool(await threads.run(rule.may_call, caller, action))
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

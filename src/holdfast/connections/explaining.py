"""Reasons of refused joins, logged under ``DEBUG``. The client gets ``forbidden``, whatever the reason was."""

import logging
from typing import Any

from django.conf import settings

from holdfast.protocol.bucket import Bucket
from holdfast.topics.registry import Registry
from holdfast.topics.topic import Topic

logger = logging.getLogger("holdfast.connections")

LOGGED_AT_ONCE = 50
LOGGED_PER_SECOND = 2.0
"""Limits of the log lines, because a page can join in a loop. Further refusals are not explained."""


class Explanations:
    """Logs the reasons of one process's refused joins."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._bucket: Bucket | None = None

    def refused(self, asked: str, topic: Topic | None, user: Any, now: float) -> None:
        """Log why a join was refused. ``topic`` is ``None`` if no route matched. Does nothing without ``DEBUG``."""
        if not settings.DEBUG:
            return
        if self._bucket is None:
            self._bucket = Bucket(LOGGED_AT_ONCE, LOGGED_PER_SECOND, now)
        if self._bucket.take(now) > 0:
            return
        reason = self._no_route(asked, user) if topic is None else _no_right(topic, user)
        logger.warning("A join of %r was refused: %s", asked, reason)

    def _no_route(self, asked: str, user: Any) -> str:
        nearest = self._registry.nearest(asked)
        if nearest is None:
            return "there are no topics. Define Topic subclasses in live.py of an app in INSTALLED_APPS."
        route = nearest.declared.route.text
        hint = ""
        if "<me>" in route and not user.is_authenticated:
            hint = " <me> stands for a signed-in user, and this connection is anonymous."
        return f"no topic has a route that matches. The nearest is {route!r} of {_where(nearest)}.{hint}"


def _no_right(topic: Topic, user: Any) -> str:
    who = repr(user) if user.is_authenticated else "an anonymous user"
    declared, where = topic.declared, _where(type(topic))
    if declared.requires:
        rules = "requires" if declared.may_join is None else "requires or may_join"
        return f"{rules} of {where} said no for {who}; it requires {', '.join(declared.requires)}."
    if declared.may_join is None:
        return f"{where} has no may_join and no requires, and so admits no user."
    return f"may_join of {where} said no for {who}."


def _where(topic: type[Topic]) -> str:
    return f"{topic.__module__}.{topic.__qualname__}"

"""Reasons of refused joins, logged under ``DEBUG``. The client gets ``forbidden``, whatever the reason was."""

import logging
from typing import Any

from django.conf import settings

from holdfast.process.limited_log import LogLimit
from holdfast.topics.registry import Registry
from holdfast.topics.topic import Topic

logger = logging.getLogger("holdfast.connections")

LOGGED_AT_ONCE = 50
NEW_SECONDS = 0.5
"""Limits of the log lines, because a page can join in a loop. Further refusals are not explained."""


class Explanations:
    """Logs the reasons of one process's refused joins."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._limit = LogLimit(at_once=LOGGED_AT_ONCE, new_seconds=NEW_SECONDS)

    def refused(self, asked: str, topic: Topic | None, user: Any, now: float) -> None:
        """Log why a join was refused. ``topic`` is ``None`` if no route matched. Does nothing without ``DEBUG``."""
        if not settings.DEBUG:
            return
        if self._limit.admit((asked, topic is None, user.pk), now) is None:
            return
        reason = self._no_route(asked, user) if topic is None else _no_right(topic, user)
        logger.warning("A join of %r was refused: %s", asked, reason)

    def _no_route(self, asked: str, user: Any) -> str:
        of_a_user = self._registry.by_name(asked)
        if of_a_user is not None:  # the name fits a route, and only <me> can have kept this user out
            return _not_theirs(of_a_user, user)
        nearest = self._registry.nearest(asked)
        if nearest is None:
            return "there are no topics. Define Topic subclasses in live.py of an app in INSTALLED_APPS."
        return f"no topic has a route that matches. The nearest is {_route(nearest)}."


def _not_theirs(topic: Topic, user: Any) -> str:
    route = topic.declared.route
    if not user.is_authenticated:
        return f"<me> stands for a signed-in user in {_route(type(topic))}, and this connection is anonymous."
    (key,) = (topic.params[name] for name, parameter in route.parameters.items() if parameter.is_me)
    own = route.text.replace("<me>", "me")
    return f"{key!r} is not the primary key of {user!r}. <me> in {_route(type(topic))} admits only their own. Join {own!r}."


def _no_right(topic: Topic, user: Any) -> str:
    if topic.declared.may_join is None:
        return f"{_where(type(topic))} has no may_join, and so admits no user."
    return f"may_join of {_where(type(topic))} said no for {'an anonymous user' if not user.is_authenticated else repr(user)}."


def _route(topic: type[Topic]) -> str:
    return f"{topic.declared.route.text!r} of {_where(topic)}"


def _where(topic: type[Topic]) -> str:
    return f"{topic.__module__}.{topic.__qualname__}"

"""The surroundings of a handler: what it may rely on, whatever ran before it.

Handlers are the methods of topics that a project writes (rules, actions, snapshots, presence data), the function for tokens,
and the reading of sessions and users. Each starts with

- context variables of its own, none of which is set: its language and its time zone are those of the settings,
- database connections on which nothing is set that an earlier handler has set (:mod:`.databases`),
- the project's own context manager around it, if there is one (``HOLDFAST["HANDLER_CONTEXT"]``).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from django.conf import settings
from django.urls import set_script_prefix
from django.utils import timezone, translation


class HandlerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler runs for, as ``HOLDFAST["HANDLER_CONTEXT"]`` gets it.

    ``host`` is the name of the host that the client connected to, in lower case and without the port; ``None`` if it is not
    known, or not among ``ALLOWED_HOSTS``. ``topic`` is the topic whose handler runs; ``None`` where a session, a user or a
    token is looked at.
    """

    host: str | None = None
    topic: Any = None


NOTHING_KNOWN = HandlerInfo()

Around = Callable[[HandlerInfo], AbstractContextManager[Any]]
"""Makes the project's context manager for one handler."""


def as_configured() -> None:
    """Where context variables are not a handler's own: what an earlier one has activated counts no more."""
    translation.deactivate()
    timezone.deactivate()


def at_script_prefix() -> None:
    """Let ``reverse()`` begin URLs as ``FORCE_SCRIPT_NAME`` says. Django has set that for the process's first thread only."""
    if settings.FORCE_SCRIPT_NAME is not None:
        set_script_prefix(settings.FORCE_SCRIPT_NAME)

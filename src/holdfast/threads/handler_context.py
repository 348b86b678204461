"""The context that a handler runs in, whatever ran before it in the same thread.

Handlers are the methods of topics that a project writes (rules, actions, snapshots, presence data), the function for tokens,
and the reading of sessions and users. Each starts with

- fresh context variables, none of which is set: its language and its time zone are those of the settings,
- database connections without anything that an earlier handler has set on them (:mod:`.databases`),
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
    """The argument of ``HOLDFAST["HANDLER_CONTEXT"]``: the host and the topic that a handler runs for.

    ``host`` is the name of the host that the client connected to, in lower case and without the port; ``None`` if it is not
    known, or not among ``ALLOWED_HOSTS``. ``topic`` is the topic whose handler runs; ``None`` while a session, a user or a
    token is read.
    """

    host: str | None = None
    topic: Any = None


NOTHING_KNOWN = HandlerInfo()

Around = Callable[[HandlerInfo], AbstractContextManager[Any]]
"""Makes the project's context manager for one handler."""


def as_configured() -> None:
    """Undo what an earlier handler has activated, where context variables are shared."""
    translation.deactivate()
    timezone.deactivate()


def at_script_prefix() -> None:
    """Make ``reverse()`` begin URLs with ``FORCE_SCRIPT_NAME``. Django has set that for the process's first thread only."""
    if settings.FORCE_SCRIPT_NAME is not None:
        set_script_prefix(settings.FORCE_SCRIPT_NAME)

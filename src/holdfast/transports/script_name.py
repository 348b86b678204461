"""The URL prefix of a project: Django's ``FORCE_SCRIPT_NAME``, or else the ASGI server's ``root_path``."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.handlers.asgi import get_script_prefix

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def path_info(scope: Scope) -> str:
    """Return the path below the prefix, as Django finds it for a page.

    A proxy may have removed the prefix or left it; servers put ``root_path`` into ``path`` (Uvicorn) or do not (Daphne,
    Hypercorn). The prefix is therefore removed only if it is there.
    """
    path: str = scope["path"]
    prefix = get_script_prefix(scope).rstrip("/")
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


class BelowScriptName:
    """ASGI middleware around Channels' ``URLRouter`` that makes it route by the path below the prefix.

    The router itself knows only ``root_path``, and fails if the path does not begin with it.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if "path_remaining" not in scope:  # otherwise an outer router has begun already
            scope = {**scope, "path_remaining": path_info(scope)}
        await self._application(scope, receive, send)

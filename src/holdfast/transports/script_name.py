"""The prefix under which a project is served: Django's ``FORCE_SCRIPT_NAME``, or else the ASGI server's ``root_path``."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.handlers.asgi import get_script_prefix

Scope = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def path_info(scope: Scope) -> str:
    """Return the path below the prefix, as Django finds it for a page.

    A proxy may have taken the prefix away, or have left it there; servers put ``root_path`` into ``path`` (Uvicorn) or do
    not (Daphne, Hypercorn). So the prefix is removed if it is there.
    """
    path: str = scope["path"]
    prefix = get_script_prefix(scope).rstrip("/")
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


class BelowScriptName:
    """ASGI middleware around Channels' ``URLRouter``: lets it route by the path below the prefix.

    By itself that router knows only ``root_path``, and fails when the path does not begin with it.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if "path_remaining" not in scope:  # else a router around this one has begun already
            scope = {**scope, "path_remaining": path_info(scope)}
        await self._application(scope, receive, send)

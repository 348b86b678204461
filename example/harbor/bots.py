"""The demo's bots: what makes a room alive before a second person has come aboard.

An app that has some gives a module `bots` with a coroutine function `run()`, which goes on until it is cancelled. Embedded,
they run in the server's process, beside what it serves; a fleet runs them once, as `manage.py bots`, with HARBOR_BOTS=0
in its servers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db import close_old_connections
from django.utils.module_loading import module_has_submodule

logger = logging.getLogger("harbor.bots")

PAUSE_AFTER_FAILURE = 5.0
"""Seconds until a bot that failed, perhaps because the database was away, is started again."""


def found() -> list[Callable[[], Awaitable[None]]]:
    """The `run` of each app's `bots`."""
    return [
        import_module(f"{app.name}.bots").run
        for app in apps.get_app_configs()
        if app.name != "harbor" and app.module and module_has_submodule(app.module, "bots")
    ]


async def run() -> None:
    """Run every bot until cancelled."""
    async with asyncio.TaskGroup() as group:
        for bot in found():
            group.create_task(_kept_running(bot))


async def _kept_running(bot: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await bot()
        except Exception:
            logger.exception("%s failed; it starts again in %g s", bot.__module__, PAUSE_AFTER_FAILURE)
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
        close_old_connections()


def aboard(application: Any) -> Any:
    """Wrap an ASGI application: its bots run while the server does."""

    async def with_bots(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        bots = asyncio.create_task(run())
        try:
            await application(scope, receive, send)
        finally:
            bots.cancel()

    return with_bots

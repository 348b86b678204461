"""Background work beside the pages: the demo's bots, which fill the rooms with life, and the reports of each server.

An app gives a module `bots` or `reports` with a coroutine function `run()`, which goes on until it is cancelled. Reports run in
every server. The bots run in the server's process as well, so that the demo is one process; a fleet runs them once, as
`manage.py bots`, with HARBOR_BOTS=0 in its servers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections
from django.utils.module_loading import module_has_submodule

logger = logging.getLogger("harbor.bots")

PAUSE_AFTER_FAILURE = 5.0
"""Seconds until a bot that failed, perhaps because the database was away, is started again."""


def found(*names: str) -> list[Callable[[], Awaitable[None]]]:
    """The `run` of each app's modules of these names."""
    return [
        import_module(f"{app.name}.{name}").run
        for app in apps.get_app_configs()
        for name in names
        if app.name != "harbor" and app.module and module_has_submodule(app.module, name)
    ]


async def run(*names: str) -> None:
    """Run all of them until cancelled."""
    async with asyncio.TaskGroup() as group:
        for bot in found(*names):
            group.create_task(_kept_running(bot))


async def _kept_running(bot: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await bot()
        except Exception:
            logger.exception("%s failed; it starts again in %g s", bot.__module__, PAUSE_AFTER_FAILURE)
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
        await sync_to_async(close_old_connections)()  # in the thread where the bots use the database


def beside(application: Any, *names: str) -> Any:
    """Wrap an ASGI application, so that the coroutines found run while the server does."""

    async def with_them(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        running = asyncio.create_task(run(*names))
        try:
            await application(scope, receive, send)
        finally:
            running.cancel()

    return with_them

"""Configurations of Uvicorn: for very many connections, and for development and tests."""

import gc
from typing import Any

import uvicorn

from holdfast.server.http import HttpProtocol
from holdfast.server.limits import BODY_BYTES
from holdfast.server.websocket import WebSocketProtocol

GC_THRESHOLDS = (10_000, 20, 50)
"""See :class:`Config`."""


class Config(uvicorn.Config):
    """Uvicorn's configuration. In each worker it settles the garbage collector once everything is loaded.

    The collector walks through all objects that may be part of a cycle, again and again. What the project has loaded
    stays until the process ends, so it is taken out of the walk (``gc.freeze``). A connection is a handful of objects that live for
    hours, so the walks are made rare: the youngest generation every 10,000 new objects instead of 700. docs/architecture.md
    has the effect in figures.

    ``limit_request_body`` is the largest body of an HTTP request, in bytes.
    """

    def __init__(self, app: Any, *, limit_request_body: int = BODY_BYTES, **options: Any) -> None:
        super().__init__(app, **options)
        self.limit_request_body = limit_request_body

    def load(self) -> None:
        super().load()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)


def for_development(application: Any, *, largest_message: int, shutdown_seconds: int) -> uvicorn.Config:
    """Return the configuration of a server in the developer's or the test's own process, without a proxy in front.

    Django's ``LOGGING`` stays as it is, and Uvicorn writes no line per request.
    """
    return uvicorn.Config(
        application,
        ws=WebSocketProtocol,
        http=HttpProtocol,
        ws_max_size=largest_message,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=shutdown_seconds,
    )

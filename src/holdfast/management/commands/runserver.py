"""``manage.py runserver``: Django's command with an ASGI server, so that pages and live topics share one port."""

import signal
import socket
import sys
import threading
from typing import Any

import uvicorn
from asgiref.typing import ASGI3Application
from django.apps import apps
from django.conf import settings

from holdfast.application import announced, answering, largest_message, load
from holdfast.server.serving.config import for_development
from holdfast.server.serving.request_log import RequestLog

if apps.is_installed("django.contrib.staticfiles"):
    from django.contrib.staticfiles.management.commands.runserver import Command as Runserver
else:
    from django.core.management.commands.runserver import Command as Runserver  # type: ignore[assignment]

BACKLOG = 2048

SHUTDOWN_SECONDS = 3
"""Seconds that running requests may take when the server stops."""


class UvicornServer:
    """Replaces the ``WSGIServer`` of Django's command: binds when made, and serves in :meth:`serve_forever`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: object, *, ipv6: bool = False) -> None:
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        # An error here is an OSError, which the command explains to the developer.
        self._socket = socket.create_server(address, family=family, backlog=BACKLOG)
        self.server_port = self._socket.getsockname()[1]

    def set_app(self, application: ASGI3Application) -> None:
        self._application = application

    def serve_forever(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # Uvicorn shuts down and then raises the signal again. The autoreloader handles SIGTERM the same way.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        config = for_development(
            self._application, largest_message=largest_message(), shutdown_seconds=SHUTDOWN_SECONDS
        )
        uvicorn.Server(config).run(sockets=[self._socket])


class Command(Runserver):
    help = "Starts a development server for pages, static files and live topics, with autoreload."

    server_cls = UvicornServer  # type: ignore[assignment]

    def get_handler(self, *args: Any, **options: Any) -> Any:
        application = load()
        self._announced = announced(application)
        application = answering(application)
        if options.get("use_static_handler") and (settings.DEBUG or options.get("insecure_serving")):
            from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

            application = ASGIStaticFilesHandler(application)
        return RequestLog(application)

    def on_bind(self, server_port: int) -> None:
        super().on_bind(server_port)
        self.stdout.write(f"Uvicorn {uvicorn.__version__} {self._announced}\n\n")
        self.stdout.flush()

"""``manage.py runserver``: Django's own, with an ASGI server inside, so that pages and live topics share one port."""

import importlib.util
import signal
import socket
import sys
import threading
from typing import Any

import uvicorn
from asgiref.typing import ASGI3Application
from django.apps import apps
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from holdfast import conf
from holdfast.management.request_log import RequestLog

if apps.is_installed("django.contrib.staticfiles"):
    from django.contrib.staticfiles.management.commands.runserver import Command as Runserver
else:
    from django.core.management.commands.runserver import Command as Runserver  # type: ignore[assignment]

BACKLOG = 2048


class UvicornServer:
    """Stands in for the ``WSGIServer`` that Django's command makes: bound when made, serving when told to."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: object, *, ipv6: bool = False) -> None:
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        # An error here is an OSError, which the command puts into words.
        self._socket = socket.create_server(address, family=family, backlog=BACKLOG)
        self.server_port = self._socket.getsockname()[1]

    def set_app(self, application: ASGI3Application) -> None:
        self._application = application

    def serve_forever(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # Uvicorn stops in good order and then raises the signal again; the autoreloader takes it the same way.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        config = uvicorn.Config(
            self._application,
            ws=_websocket_implementation(),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[self._socket])


class Command(Runserver):
    help = "Starts a development server for pages, static files and live topics, with autoreload."

    server_cls = UvicornServer  # type: ignore[assignment]

    def get_handler(self, *args: Any, **options: Any) -> Any:
        _websocket_implementation()
        application = _application()
        if options.get("use_static_handler") and (settings.DEBUG or options.get("insecure_serving")):
            from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

            application = ASGIStaticFilesHandler(application)
        return RequestLog(application)

    def on_bind(self, server_port: int) -> None:
        super().on_bind(server_port)
        url = f"/{conf.settings().path}ws"
        self.stdout.write(f"Uvicorn {uvicorn.__version__} serves HTTP, and live topics at {url}\n\n")
        self.stdout.flush()


def _application() -> Any:
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        from holdfast.asgi import application

        return application(get_asgi_application())
    try:
        return import_string(path)
    except ImportError as error:
        raise CommandError(
            f"ASGI_APPLICATION = {path!r} cannot be loaded: {error}. Name the application of your asgi.py, such as "
            "'mysite.asgi.application', or leave the setting out."
        ) from error


def _websocket_implementation() -> Any:
    for module, name in (("websockets", "websockets-sansio"), ("wsproto", "wsproto")):
        if importlib.util.find_spec(module):
            return name
    raise CommandError(
        "Uvicorn needs a WebSocket library to serve live topics. Install one: pip install websockets"
    )

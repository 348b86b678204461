"""Server for tests with a browser: pages, static files and live topics, in a thread of the test's process.

Django's ``LiveServerTestCase`` and pytest-django's ``live_server`` serve WSGI, which has no WebSockets. This is the server
of ``runserver``, without a reload. It shares its process with the test: events that the test publishes reach the browser
at once, and ``override_settings`` and patches apply to both.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import django.test
import uvicorn
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import FileResponse, HttpRequest, HttpResponse
from django.views.static import serve as serve_file

from holdfast import conf
from holdfast.application import answering, largest_message, load
from holdfast.asgi import shut_down
from holdfast.server.serving.config import for_development

END_SECONDS = 15.0
"""Seconds that connections, calls and threads of the server may take to end."""


class _Server(uvicorn.Server):
    """Uvicorn's server. That of ``holdfast serve`` ends its process when it hangs, and here the process is the test's."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready.set()


class ServerThread(threading.Thread):
    """Thread of the server, with the attributes that Django's test case expects."""

    def __init__(
        self, host: str, static_handler: object = None, *, connections_override: Any = None, port: int = 0
    ) -> None:
        super().__init__(name="holdfast-live-server", daemon=True)
        self.host, self.port = host, port
        self.connections_override: dict[str, Any] = connections_override or {}
        self.is_ready = threading.Event()
        self.error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None

    def run(self) -> None:
        try:
            with socket.create_server((self.host, self.port)) as listening:
                self.port = listening.getsockname()[1]
                asyncio.run(self._serve(listening))
        except Exception as error:  # noqa: BLE001 - the test case raises it
            self.error = error
        finally:
            self.is_ready.set()
            connections.close_all()

    async def _serve(self, listening: socket.socket) -> None:
        application = _with_files(answering(load()))
        config = for_development(application, largest_message=largest_message(), shutdown_seconds=1)
        self._loop = asyncio.get_running_loop()
        self._server = _Server(config, self.is_ready)
        try:
            await self._server.serve(sockets=[listening])
        finally:
            await _end_all()
        if not self._server.started:
            raise RuntimeError("the live server could not start; its log says why")

    def end_connections(self) -> None:
        """Close all live connections and wait for running calls, so that the database is not used. The server still accepts
        new connections."""
        if self._loop is not None and self.is_alive():
            self._wait_for(_end_all())

    def _wait_for(self, ending: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(ending, self._loop).result(END_SECONDS)

    def terminate(self) -> None:
        """Stop serving and wait for the thread."""
        if self._server is not None:
            self._server.should_exit = True
        self.join()


async def _end_all() -> None:
    await shut_down()
    await sync_to_async(connections.close_all)()


def _with_files(application: Any) -> Any:
    """Serve static files by their finders, and media files, like Django's live servers."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return application
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    class Media(ASGIStaticFilesHandler):
        def get_base_url(self) -> str:
            return str(settings.MEDIA_URL)

        def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
            return serve_file(request, self.file_path(request.path), document_root=settings.MEDIA_ROOT)

    if settings.MEDIA_ROOT and urlsplit(settings.MEDIA_URL).path.strip("/"):
        application = Media(application)
    return ASGIStaticFilesHandler(application)


def check_databases(aliases: Iterable[str]) -> None:
    """Raise ``ImproperlyConfigured`` for a database in memory: the server's threads have connections of their own."""
    for alias in aliases:
        connection: Any = connections[alias]
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            raise ImproperlyConfigured(
                f"A live server needs a database that several threads can use, and DATABASES[{alias!r}] is in memory. Give "
                f'its tests a file: DATABASES[{alias!r}]["TEST"] = {{"NAME": BASE_DIR / "test.sqlite3"}}.'
            )


class LiveServerTestCase(django.test.LiveServerTestCase):
    """Django's ``LiveServerTestCase`` with a server that serves live topics too::

        class ChatInTheBrowser(LiveServerTestCase):
            def test_a_message_arrives(self):
                self.page.goto(self.live_server_url + "/rooms/lobby/")
                Room(room="lobby").publish(MessagePosted(1, "ada", "hi"))

    Static files need no ``collectstatic``. Live connections are closed after each test.
    """

    server_thread_class = ServerThread

    @classmethod
    def setUpClass(cls) -> None:
        check_databases(connections if cls.databases == "__all__" else cls.databases)
        super().setUpClass()

    def _fixture_teardown(self) -> None:
        self.server_thread.end_connections()
        super()._fixture_teardown()  # type: ignore[misc]


class LiveSite:
    """A running server, for pytest. ``url`` and ``str()`` are its URL."""

    def __init__(self, thread: ServerThread) -> None:
        self.url = f"http://{thread.host}:{thread.port}"

    def __str__(self) -> str:
        return self.url


@contextlib.contextmanager
def live_site(host: str = "localhost") -> Iterator[LiveSite]:
    """Serve the project on a free port for the length of the block."""
    check_databases({DEFAULT_DB_ALIAS, conf.settings().database})
    with django.test.modify_settings(ALLOWED_HOSTS={"append": host}):
        thread = ServerThread(host)
        thread.start()
        thread.is_ready.wait()
        if thread.error is not None:
            raise thread.error
        try:
            yield LiveSite(thread)
        finally:
            thread.terminate()

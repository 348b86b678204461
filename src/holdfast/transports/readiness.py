"""Plain HTTP below the live path: the readiness probe, and requests that lost their upgrade to WebSocket on the way."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from holdfast.connections.manager import ConnectionManager

from .script_name import path_info

logger = logging.getLogger("holdfast.readiness")

READY, DRAINING, UNABLE = (200, b"ready\n"), (503, b"draining\n"), (503, b"not ready\n")
NOT_ALLOWED = (405, b"GET or HEAD\n")
_UPGRADE_LOST = (
    b"This is a WebSocket endpoint, and the request asks for no upgrade. "
    b"If a browser's client sent it, a proxy in between dropped the headers Upgrade and Connection.\n"
)
NO_UPGRADE = (426, _UPGRADE_LOST)

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Readiness:
    """ASGI middleware that answers the readiness path, and passes all others to ``application``.

    200 means that this process serves live connections; 503 that it does not, or that it drains. It stands before Django,
    whose middleware could redirect or refuse probes that use an address and no TLS. It asks neither the database nor Redis,
    since another server would be no better off without them. If the ASGI server did not announce its start to the application
    (Daphne), the first probe starts the hub.

    A request for the WebSocket's own path also ends here: with 426 instead of Django's 404, which would point to a mistake in
    the routing. The log reports that once.
    """

    def __init__(
        self,
        application: Application,
        path: str,
        service: Callable[[], ConnectionManager],
        *,
        socket: str,
        others: Mapping[str, Application] | None = None,
    ) -> None:
        self._application = application
        self._path = path
        self._socket = socket
        self._others = others or {}
        self._service = service
        self._warned = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        path = path_info(scope)
        if path == self._path:
            status, body = await self._state() if scope["method"] in ("GET", "HEAD") else NOT_ALLOWED
        elif path == self._socket:
            status, body = self._not_upgraded()
        else:
            await self._others.get(path, self._application)(scope, receive, send)
            return
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *([(b"allow", b"GET, HEAD")] if status == 405 else []),
            *([(b"upgrade", b"websocket"), (b"connection", b"upgrade")] if status == 426 else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _not_upgraded(self) -> tuple[int, bytes]:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s was requested without an upgrade to WebSocket; if live connections fail, make the proxy pass the headers "
                "Upgrade and Connection",
                self._socket,
            )
        return NO_UPGRADE

    async def _state(self) -> tuple[int, bytes]:
        runtime = self._service().runtime
        if runtime.leaving:
            return DRAINING
        try:
            await runtime.hub()
        except Exception as error:  # noqa: BLE001 - whatever it is, clients must go elsewhere
            logger.warning("not ready: the hub does not start: %r", error)
            return UNABLE
        return READY

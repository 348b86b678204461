"""ASGI's ``scope`` of a WebSocket connection."""

import asyncio
import logging
from typing import Any, NamedTuple
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import (
    get_client_addr,
    get_local_addr,
    get_remote_addr,
    is_ssl,
)

from .handshake import UpgradeRequest
from .redaction import logged_target

logger = logging.getLogger("uvicorn.error")


class Endpoints(NamedTuple):
    """The two ends of a connection as ASGI has them, and whether TLS is between them."""

    server: tuple[str, int | None] | None
    client: tuple[str, int] | None
    secure: bool


def endpoints_of(transport: asyncio.Transport) -> Endpoints:
    return Endpoints(get_local_addr(transport), get_remote_addr(transport), is_ssl(transport))


def make_scope(
    config: Config, ends: Endpoints, request: UpgradeRequest, state: dict[str, Any]
) -> dict[str, Any]:
    """Return the scope, by ASGI's WebSocket specification 2.4, with the extensions that this server offers."""
    raw_path, _, query = request.target.partition(b"?")
    root = config.root_path
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if ends.secure else "ws",
        "server": ends.server,
        "client": ends.client,
        "root_path": root,
        "path": root + unquote(raw_path.decode("ascii")),
        "raw_path": root.encode("ascii") + raw_path,
        "query_string": query,
        "headers": request.headers,
        "subprotocols": request.subprotocols,
        "state": state.copy(),
        "extensions": {"websocket.http.response": {}, "holdfast.adopt": {}},
    }


def log_outcome(config: Config, scope: Any, outcome: str) -> None:
    """Write a line of the access log, if it is on: the end of a handshake."""
    if config.access_log and logger.isEnabledFor(logging.INFO):
        logger.info('%s - "WebSocket %s" %s', get_client_addr(scope), logged_target(scope), outcome)

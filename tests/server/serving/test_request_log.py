"""The log of requests, in which a client chooses a part of each line."""

import logging
from typing import Any

import pytest

from holdfast.server.serving.request_log import RequestLog

FORGED = '/\n[30/Nov/2026 10:00:00] "GET /admin/ HTTP/1.1" 200 0\x1b[2J\u2028"'


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own configuration may keep these lines from the root logger, and so from ``caplog``."""
    monkeypatch.setattr(logging.getLogger("django.server"), "propagate", True)


async def served(path: str, query: bytes = b"", kind: str = "http") -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if kind == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})
        else:
            await send({"type": "websocket.close"})

    async def send(event: Any) -> None:
        pass

    scope: Any = {"type": kind, "method": "GET", "path": path, "query_string": query}
    if kind == "websocket":
        del scope["method"]
    receive: Any = None
    await RequestLog(application)(scope, receive, send)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_path_cannot_forge_a_line(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    with caplog.at_level(logging.INFO, logger="django.server"):
        await served(FORGED, kind=kind)

    (message,) = caplog.messages
    assert message.isprintable()
    assert "\\n[30/Nov/2026" in message
    assert "\\x1b" in message
    assert message.count('"') == 2


async def test_an_ordinary_path_is_logged_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="django.server"):
        await served("/grüße/", b"a=1&b=%20")

    assert caplog.messages == ['"GET /grüße/?a=1&b=%20 HTTP/1.1" 404 2']

"""Requests that fail in the live endpoints: the client gets a status, and the log one record a second."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError

from holdfast import wiring
from holdfast.asgi import answering_readiness
from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.process import limited_log
from holdfast.transports.failed_requests import FailedRequests
from holdfast.transports.websocket import LiveWebSocket
from tests.support.clock import in_jumping_time
from tests.support.connected import fleet

SECRET = "password=hunter2"
KEYS = {"PUBLISHING_KEYS": [{"NAME": "shop", "KEYS": ["s" * 40], "TOPICS": ["rooms/*"]}]}

GETS = ["sse", "poll", "history"]
POSTS = ["call", "publish"]


class Broken(Authenticator):
    """Raises ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        raise self.error

    async def revalidate(self, identities: Any) -> Any:
        raise self.error


class Anyone(Broken):
    async def authenticate(self, request: AuthRequest) -> Identity | None:
        return request.identify(AnonymousUser())


class Client:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    @property
    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        start, body = self.sent
        return start["status"], dict(start["headers"]), body["body"]


def scope_of(endpoint: str) -> dict[str, Any]:
    token = [(b"authorization", b"Bearer " + b"s" * 40)] if endpoint == "publish" else []
    return {
        "type": "http",
        "method": "POST" if endpoint in POSTS else "GET",
        "path": f"/live/{endpoint}",
        "client": ("203.0.113.7", 1),
        "headers": [(b"host", b"testserver"), *token],
        "query_string": b"topic=rooms/lobby",
    }


@asynccontextmanager
async def broken(
    monkeypatch: pytest.MonkeyPatch, error: Exception, endpoint: str = "sse"
) -> AsyncIterator[Any]:
    """The application of a server in which the code behind an endpoint raises an error."""

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    async with fleet() as here:
        service = here.processes[0].service
        service.authenticator = Broken(error)
        monkeypatch.setattr(service.limiter, "take", fails)
        monkeypatch.setattr(service.registry, "resolve", fails)
        monkeypatch.setattr(wiring, "service", lambda: service)
        monkeypatch.setattr(limited_log, "_limit", limited_log.LogLimit())

        async def django(*given: Any) -> None:
            raise AssertionError("this is no live endpoint")

        yield answering_readiness(django)


async def ask(application: Any, endpoint: str) -> tuple[int, dict[bytes, bytes], bytes]:
    client = Client()
    await application(scope_of(endpoint), client.receive, client.send)
    return client.answer


@pytest.mark.parametrize("endpoint", [*GETS, *POSTS])
def test_a_bug_is_500_without_details_and_one_traceback_a_second(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.HOLDFAST = KEYS

    @in_jumping_time
    async def run() -> None:
        async with broken(monkeypatch, RuntimeError(SECRET), endpoint) as application:
            for _ in range(20):
                status, headers, body = await ask(application, endpoint)
                assert status == 500
                assert b"retry-after" not in headers
                assert SECRET.encode() not in body
                if endpoint in POSTS:
                    assert json.loads(body)["payload"]["code"] == "internal"
                else:
                    assert headers[b"holdfast-code"] == b"internal"

    run()
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert [record.name for record in tracebacks] == ["holdfast.http"]
    assert f"a request ({_name_of(endpoint)}) failed" in tracebacks[0].getMessage()


@pytest.mark.parametrize("endpoint", [*GETS, *POSTS])
def test_a_database_that_is_away_is_503_with_retry_after_and_no_traceback(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.HOLDFAST = KEYS

    @in_jumping_time
    async def run() -> None:
        async with broken(monkeypatch, OperationalError(SECRET), endpoint) as application:
            for _ in range(20):
                status, headers, body = await ask(application, endpoint)
                assert status == 503
                assert headers[b"retry-after"] == b"1"
                assert SECRET.encode() not in body

    run()
    assert not [record for record in caplog.records if record.exc_info]
    mine = [
        record for record in caplog.records if record.name in ("holdfast.http", "holdfast.authentication")
    ]
    assert [record.levelno for record in mine] == [logging.WARNING]


@pytest.mark.parametrize("endpoint", ["sse", "poll"])
def test_a_hub_that_does_not_start_is_503(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    @in_jumping_time
    async def run() -> None:
        async with broken(monkeypatch, OperationalError("away"), endpoint) as application:
            service = wiring.service()
            service.authenticator = Anyone(OperationalError("away"))

            async def hub() -> Any:
                raise OperationalError("away")

            monkeypatch.setattr(service.runtime, "hub", hub)
            status, headers, _ = await ask(application, endpoint)
            assert (status, headers[b"holdfast-code"]) == (503, b"unavailable")

    run()


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("bug"), 500), (OperationalError("away"), 503)])
def test_a_websocket_gets_the_same_statuses(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @in_jumping_time
    async def run() -> None:
        async with broken(monkeypatch, error):
            endpoint = LiveWebSocket(wiring.service)
            scope = scope_of("ws") | {
                "type": "websocket",
                "subprotocols": [],
                "extensions": {"websocket.http.response": {}},
            }
            for _ in range(20):
                client = Client()
                await endpoint(dict(scope), client.receive, client.send)
                assert client.answer[0] == status

    run()
    assert len([record for record in caplog.records if record.exc_info]) == (status == 500)


async def test_a_response_that_has_begun_is_not_answered_twice(caplog: pytest.LogCaptureFixture) -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    client = Client()
    await FailedRequests(half, "history")(scope_of("history"), client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["http.response.start"]
    assert [record.name for record in caplog.records if record.exc_info] == ["holdfast.http"]


async def test_a_client_that_has_gone_is_left_to_the_server() -> None:
    async def gone(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError("the client has gone")

    client = Client()
    with pytest.raises(OSError, match="gone"):
        await FailedRequests(gone, "history")(scope_of("history"), client.receive, client.send)


def _name_of(endpoint: str) -> str:
    return "polling" if endpoint == "poll" else endpoint

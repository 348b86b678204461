"""Tokens and tickets that fail in a handshake count for the address, as those on a living connection do."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.utils import timezone

from holdfast import signals
from holdfast.auth.base import Authenticator, AuthRequest, CredentialExpired, Identity
from holdfast.auth.publishing_key import PublishingKey
from holdfast.limits.base import Rate
from holdfast.protocol.codec import JSON
from holdfast.transports.http_calls import LiveCalls
from holdfast.transports.http_publish import LivePublishing
from holdfast.transports.polling import LivePolling
from holdfast.transports.sse import LiveEventStream
from holdfast.transports.websocket import LiveWebSocket
from tests.support.clock import in_jumping_time
from tests.support.connected import User, fleet
from tests.support.handshakes import boundary, identified

TWICE = {"failed_tokens": Rate(count=2, seconds=10.0)}
ADDRESS = "203.0.113.7"


class Guard(Authenticator):
    """Answers with ``found``, or raises it. Counts how often it is asked."""

    def __init__(self, found: Any = None) -> None:
        self.found = found
        self.asked = 0

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return request.identify(AnonymousUser()) if self.found == "anonymous" else self.found

    async def revalidate(self, identities: Any) -> Any:
        return identities


def scope_of(*, address: str = ADDRESS, token: bool = True, query: bytes = b"") -> dict[str, Any]:
    headers = [(b"authorization", b"Bearer a-guess")] if token else []
    return {"type": "http", "client": (address, 1), "headers": headers, "query_string": query}


class Client:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if "status" in message]


async def tries(guard: Guard, *scopes: Any, bounds: Any = None) -> list[int]:
    client, bounds = Client(), bounds or boundary(**TWICE)
    for scope in scopes:
        await identified(guard, scope, client.send, bounds)
    return client.statuses


@in_jumping_time
async def test_an_address_that_guesses_is_answered_429_without_a_look_at_its_tokens() -> None:
    guard, client, bounds = Guard(), Client(), boundary(**TWICE)
    for _ in range(4):
        await identified(guard, scope_of(), client.send, bounds)
    assert client.statuses == [401, 401, 429, 429]
    assert guard.asked == 2
    last = [message for message in client.sent if "status" in message][-1]
    assert 0 < int(dict(last["headers"])[b"retry-after"]) <= 5


@in_jumping_time
async def test_tickets_count_as_tokens_and_other_addresses_do_not() -> None:
    ticket = scope_of(token=False, query=b"ticket=a-guess")
    assert await tries(Guard(), ticket, ticket, scope_of(address="203.0.113.8"), ticket) == [
        401,
        401,
        401,
        429,
    ]


@in_jumping_time
@pytest.mark.parametrize(
    ("found", "status"),
    [
        (CredentialExpired(), 401),
        (Identity(user=User(1), expires_at=timezone.now() - timedelta(days=1)), 401),
        (OperationalError("gone"), 503),
    ],
    ids=["expired", "identity expired", "unavailable"],
)
async def test_a_token_that_was_valid_once_or_cannot_be_verified_does_not_count(
    found: Any, status: int
) -> None:
    assert await tries(Guard(found), *[scope_of()] * 5) == [status] * 5


@in_jumping_time
async def test_a_refusal_without_a_token_does_not_count() -> None:
    bounds = boundary(**TWICE)
    assert await tries(Guard(PermissionDenied()), *[scope_of(token=False)] * 5, bounds=bounds) == [403] * 5
    assert await tries(Guard(), scope_of(), bounds=bounds) == [401]


@in_jumping_time
@pytest.mark.parametrize("application", [LiveWebSocket, LiveEventStream, LivePolling, LiveCalls])
async def test_every_transport_asks_the_boundary(application: Any) -> None:
    async with fleet() as here:
        service = here.processes[0].service
        service.authenticator = Guard()
        service.boundary = boundary(**TWICE)
        client, endpoint = Client(), application(lambda: service)
        if application is LiveWebSocket:
            kind, method, first = "websocket", None, {"type": "websocket.connect"}
        else:
            kind, method = "http", "POST" if application is LiveCalls else "GET"
            first = {"type": "http.request", "body": b"{}"}
        scope = scope_of() | {
            "type": kind,
            "method": method,
            "subprotocols": [JSON.name],
            "extensions": {"websocket.http.response": {}},
        }

        async def receive() -> Any:
            return first

        for _ in range(3):
            await endpoint(dict(scope), receive, client.send)
        assert client.statuses == [401, 401, 429]
        assert service.authenticator.asked == 2


@in_jumping_time
async def test_a_refused_handshake_is_reported_without_its_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "holdfast")
    reported: list[dict[str, Any]] = []

    def refused(**values: Any) -> None:
        reported.append(values)

    def limited(**values: Any) -> None:
        reported.append(values)

    signals.connection_refused.connect(refused)
    signals.limit_hit.connect(limited)
    both = scope_of(query=b"ticket=a-guess-too")
    assert await tries(Guard(), *[both] * 3) == [401, 401, 429]
    assert [(values.get("code"), values.get("status"), values.get("limit")) for values in reported] == [
        ("unauthenticated", 401, None),
        ("unauthenticated", 401, None),
        (None, None, "failed_tokens"),
        ("rate_limited", 429, None),
    ]
    assert {values["address"] for values in reported} == {ADDRESS}
    assert [record.name for record in caplog.records] == [
        "holdfast.connections.refused",
        "holdfast.connections.refused",
        "holdfast.connections.limit_hit",
        "holdfast.connections.refused",
    ]
    assert "a-guess" not in repr(reported) + "".join(repr(vars(record)) for record in caplog.records)


@in_jumping_time
async def test_guessing_the_secret_of_a_service_that_publishes_counts_too() -> None:
    key = PublishingKey(name="shop", keys=("s" * 40,), topics=("rooms/*",))
    async with fleet() as here:
        service = here.processes[0].service
        service.boundary = boundary(**TWICE)
        endpoint, client = LivePublishing(lambda: service, lambda: [key]), Client()
        for _ in range(3):
            await endpoint({**scope_of(), "method": "POST"}, client.receive, client.send)
        assert client.statuses == [401, 401, 429]
        right = [(b"authorization", b"Bearer " + b"s" * 40)]
        await endpoint({**scope_of(), "method": "POST", "headers": right}, client.receive, client.send)
        assert client.statuses[-1] == 429, "a right secret is not looked at either"

"""Forged, expired, stolen and replayed credentials, on every transport."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from tests.asgi_servers.client import JSON, Live
from tests.asgi_servers.http import CSRF, Message, request
from tests.asgi_servers.servers import GUARDED, SECRET, Prepared, Running, settled

from .server import attacked

#: The guesses of these tests come from one address, and each is to be judged by itself.
JUDGED = {"AUTHENTICATOR": GUARDED["AUTHENTICATOR"], "FAILED_TOKENS": None}

BAD = {
    "wrong key": {"key": "another secret of a length that is enough for HS256"},
    "none": {"algorithm": "none"},
    "another algorithm": {"algorithm": "HS512"},
    "wrong audience": {"aud": "shop"},
    "expired": {"exp": 1},
    "no such user": {"sub": "999999"},
}

ENDPOINTS = {
    "websocket": ("GET", "/live/ws"),
    "stream": ("GET", "/live/sse?topic=inbox/me"),
    "polling": ("GET", "/live/poll?topic=inbox/me"),
    "post": ("POST", "/live/call"),
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[Running]:
    with attacked(tmp_path_factory.mktemp("credentials"), prepared, holdfast=JUDGED) as server:
        yield server.running


def token(
    server: Running, user: str = "ada", key: str = SECRET, algorithm: str = "HS256", **claims: Any
) -> str:
    given = {"sub": server.users[user].id, "aud": "live", "exp": time.time() + 60, **claims}
    return jwt.encode(given, key if algorithm != "none" else None, algorithm=algorithm)


async def opened(
    server: Running, way: str, *, bearer: str = "", ticket: str = "", user: str | None = None
) -> tuple[int, Message]:
    """Open a connection with a credential in the header or the URL. Return the status, and the first JSON of a polling answer."""
    method, path = ENDPOINTS[way]
    if ticket:
        path += f"{'&' if '?' in path else '?'}ticket={ticket}"
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    if way == "websocket":
        try:
            async with Live(server, user=user, path=path[1:], **_additional(headers)):
                return 101, {}
        except InvalidStatus as refusal:
            return refusal.response.status_code, {}
    if user:
        headers["Cookie"] = f"{server.users[user].cookie}; csrftoken={CSRF}"
    body = b""
    if way == "post":
        headers |= {"Content-Type": "application/json", "X-CSRFToken": CSRF, "Origin": server.origin}
        body = json.dumps(
            {"topic": f"rooms/{uuid4().hex}", "name": "say", "payload": {"text": "hi"}}
        ).encode()
    async with asyncio.timeout(10):
        response, writer = await request(server, method, path, headers, body)
    try:
        answer: Message = (
            json.loads(await response.body()) if response.status == 200 and way != "stream" else {}
        )
    finally:
        writer.close()
    return response.status, answer


def _additional(headers: dict[str, str]) -> dict[str, Any]:
    if not headers:
        return {}
    (bearer,) = (value.removeprefix("Bearer ") for value in headers.values())
    return {"subprotocols": [JSON, f"bearer.{bearer}"]}


async def bought(server: Running, user: str = "ada") -> str:
    """Return a ticket of this user's session."""
    headers = {
        "Cookie": f"{server.users[user].cookie}; csrftoken={CSRF}",
        "X-CSRFToken": CSRF,
        "Origin": server.origin,
        "Connection": "close",
    }
    response, writer = await request(server, "POST", "/live/ticket", headers)
    try:
        return str(json.loads(await response.body())["ticket"])
    finally:
        writer.close()


# ── JSON Web Tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("way", list(ENDPOINTS))
async def test_a_token_that_is_not_valid_opens_nothing_even_beside_a_cookie(
    target: Running, way: str, bad: dict[str, Any]
) -> None:
    before = await asyncio.to_thread(settled, lambda: target.state()["connections"])
    status, _ = await opened(target, way, bearer=token(target, **bad), user="ada")
    assert status == 401
    assert target.state()["connections"] == before


@pytest.mark.parametrize("way", list(ENDPOINTS))
async def test_a_token_that_is_valid_opens_a_connection(target: Running, way: str) -> None:
    """Otherwise the refusals of the other tests would prove nothing."""
    status, _ = await opened(target, way, bearer=token(target))
    assert status == (101 if way == "websocket" else 200)


@pytest.mark.parametrize("way", ["stream", "polling"])
async def test_a_token_that_expires_ends_its_connection(target: Running, way: str) -> None:
    _, path = ENDPOINTS[way]
    headers = {"Authorization": f"Bearer {token(target, exp=time.time() + 2)}", "Connection": "close"}
    response, writer = await request(target, "GET", path, headers)
    try:
        async with asyncio.timeout(10):
            if way == "stream":
                body = await response.body()  # to its end
                assert b'"code":"token_expired"' in body
            else:
                first = json.loads(await response.body())
                state = f"&session={first['session']}&ack={first['ack']}"
                next_response, next_writer = await request(target, "GET", path + state, headers)
                body = await next_response.body()
                next_writer.close()
                assert next_response.status == 401 or b'"code":"token_expired"' in body
    finally:
        writer.close()


@pytest.mark.parametrize("way", list(ENDPOINTS))
async def test_an_address_that_guesses_tokens_must_wait(tmp_path: Path, prepared: Prepared, way: str) -> None:
    limits = {"AUTHENTICATOR": GUARDED["AUTHENTICATOR"], "EXEMPT_NETWORKS": [], "FAILED_TOKENS": "5/60s"}
    with attacked(tmp_path, prepared, holdfast=limits) as server:
        target = server.running

        async def statuses(count: int, **how: str) -> list[int]:
            return [(await opened(target, way, **how))[0] for _ in range(count)]

        forged = token(target, key="another secret of a length that is enough for HS256")
        accepted = 101 if way == "websocket" else 200
        assert await statuses(8, bearer=token(target, exp=1)) == [401] * 8, "expired tokens do not count"
        assert await statuses(1, bearer=token(target)) == [accepted]
        assert await statuses(8, bearer=forged) == [401] * 5 + [429] * 3
        assert await statuses(1, bearer=token(target)) == [429], "a good one is not looked at either"
        assert await statuses(1, ticket="guessed") == [429]
        assert await statuses(1) != [429], "a client without a token is not concerned"
        logged = server.output().count("limit of failed_tokens hit")
        assert 1 <= logged <= 3, "once a second at most, for five refusals"


# ── tickets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["websocket", "stream", "polling"])
async def test_a_ticket_that_was_used_opens_nothing_on_any_transport(target: Running, way: str) -> None:
    made = await bought(target)
    assert (await opened(target, way, ticket=made))[0] in (101, 200)
    for again in ("websocket", "stream", "polling"):
        assert (await opened(target, again, ticket=made))[0] == 401


@pytest.mark.parametrize("way", ["websocket", "stream", "polling"])
async def test_a_stolen_ticket_is_refused_beside_the_session_of_the_thief(target: Running, way: str) -> None:
    made = await bought(target, "ada")
    assert (await opened(target, way, ticket=made, user="grace"))[0] == 401


@pytest.mark.parametrize("way", ["websocket", "stream", "polling"])
async def test_of_two_clients_with_one_ticket_one_is_let_in(target: Running, way: str) -> None:
    made = await bought(target)
    found = await asyncio.gather(*(opened(target, way, ticket=made) for _ in range(8)))
    statuses = [status for status, _ in found]
    assert (statuses.count(401), statuses.count(101 if way == "websocket" else 200)) == (7, 1)


async def test_no_credential_of_a_stream_a_poll_or_a_post_is_in_the_log(target: Running) -> None:
    made, secret, bad = await bought(target), token(target), token(target, aud="shop")
    for way in ENDPOINTS:
        for bearer in (secret, bad):
            await opened(target, way, bearer=bearer)
    for way in ("stream", "polling"):
        await opened(target, way, ticket=made)
    log = target.process.output()
    assert all(word not in log for word in (made, secret, bad))

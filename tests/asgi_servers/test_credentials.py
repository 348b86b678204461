"""Tokens and tickets on a real socket: the server decides on those in the handshake before it accepts the connection."""

import base64
import json
import re
import time
import urllib.parse
import urllib.request
from typing import Any

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from holdfast.protocol import codes

from .client import JSON, Live
from .servers import SECRET, Running


def token(
    server: Running, user: str = "ada", key: str = SECRET, algorithm: str = "HS256", **claims: Any
) -> str:
    given = {"sub": server.users[user].id, "aud": "live", "exp": time.time() + 60, **claims}
    return jwt.encode(given, key if algorithm != "none" else None, algorithm=algorithm)


async def user(server: Running, **how: Any) -> str | None:
    async with Live(server, **{"user": None, **how}) as live:
        if "subprotocols" in how:
            assert live.socket.subprotocol == JSON, "a token is never answered with"
        found: str | None = (await live.hello())["payload"]["user"]
        return found


async def status(server: Running, **how: Any) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        async with Live(server, **{"user": None, **how}):
            pass
    return refusal.value.response.status_code


async def test_a_token_comes_as_a_subprotocol_or_in_a_hello(guarded: Running) -> None:
    ada, good = guarded.users["ada"].id, token(guarded)
    assert await user(guarded, subprotocols=[JSON, f"bearer.{good}"]) == ada
    encoded = base64.urlsafe_b64encode(good.encode()).decode().rstrip("=")
    assert await user(guarded, subprotocols=[f"bearer64.{encoded}", JSON]) == ada
    async with Live(guarded, user=None) as live:
        assert (await live.hello(token=good))["payload"]["user"] == ada


async def test_a_token_is_the_users_whatever_the_cookie_says(guarded: Running) -> None:
    good = token(guarded, "grace")
    assert await user(guarded, user="ada", subprotocols=[JSON, f"bearer.{good}"]) == guarded.users["grace"].id


@pytest.mark.parametrize(
    "bad",
    [
        {"key": "another secret of a length that is enough for HS256"},
        {"algorithm": "none"},
        {"algorithm": "HS512"},
        {"aud": "shop"},
        {"exp": 1},
        {"sub": "999999"},
    ],
    ids=str,
)
async def test_a_token_that_is_not_valid_is_refused_in_the_handshake(guarded: Running, bad: Any) -> None:
    """The cookie beside it does not open the connection either."""
    refused = await status(guarded, user="ada", subprotocols=[JSON, f"bearer.{token(guarded, **bad)}"])
    assert refused in (401, 403)


async def test_a_token_that_expires_on_a_living_connection_ends_it(guarded: Running) -> None:
    async with Live(guarded, user=None) as live:
        await live.hello(token=token(guarded, exp=time.time() + 2))
        goodbye = await live.until(lambda message: message["type"] == "goodbye")
        assert goodbye["payload"] == {"code": "token_expired", "reconnect": True}
        assert (await live.closed())[0] == codes.TOKEN_EXPIRED.close


def ticket(server: Running, name: str = "ada", **form: str) -> str:
    secret = "x" * 32
    cookie = f"{server.users[name].cookie}; csrftoken={secret}"
    request = urllib.request.Request(
        f"{server.origin}/live/ticket",
        data=urllib.parse.urlencode(form).encode(),
        headers={"Cookie": cookie, "X-CSRFToken": secret, "Origin": server.origin},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["ticket"])


async def test_a_ticket_opens_one_connection_to_its_topics(guarded: Running) -> None:
    made = ticket(guarded, topics="rooms/one")
    async with Live(guarded, user=None, path=f"live/ws?ticket={made}") as live:
        assert (await live.hello())["payload"]["user"] == guarded.users["ada"].id
        assert (await live.join("rooms/one"))["type"] == "joined"
        assert (await live.join("rooms/two"))["payload"]["code"] == "forbidden"
    assert await status(guarded, path=f"live/ws?ticket={made}") in (401, 403)


async def test_a_stolen_ticket_is_refused_beside_the_thiefs_cookie(guarded: Running) -> None:
    assert await status(guarded, user="grace", path=f"live/ws?ticket={ticket(guarded)}") in (401, 403)


async def test_no_credential_is_in_the_log(guarded: Running) -> None:
    secret = token(guarded)
    made = ticket(guarded)
    for how in ({"subprotocols": [JSON, f"bearer.{secret}"]}, {"path": f"live/ws?ticket={made}"}):
        await user(guarded, **how)
    await status(guarded, subprotocols=[f"bearer.{secret}", "graphql-ws"])
    log = guarded.process.output()
    assert secret not in log
    if guarded.kind.name.startswith("holdfast"):  # the access logs of other servers are not Holdfast's
        assert not re.search(r"ticket=(?!\[removed\])\S", log)

"""Who is let in, and how the others are turned down."""

import pytest
from websockets.exceptions import InvalidStatus

from .client import JSON, MSGPACK, Live, Raw
from .servers import Running


async def refused(server: Running, **how: object) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refusal:
        async with Live(server, **how):  # type: ignore[arg-type]
            pass
    return refusal.value


async def test_a_session_cookie_says_who_it_is(server: Running) -> None:
    async with Live(server, user="grace") as grace:
        welcome = await grace.hello()

    assert welcome["payload"]["user"] == server.users["grace"].id
    assert welcome["payload"]["limits"] == {"message_bytes": 65536, "topics": 100, "calls": 32}


async def test_without_a_cookie_the_client_is_anonymous(server: Running) -> None:
    async with Live(server, user=None) as nobody:
        welcome = await nobody.hello()

    assert welcome["payload"]["user"] is None


async def test_http_and_websocket_share_the_port_and_the_session(server: Running) -> None:
    assert server.get("me/", "ada") == "ada"


async def test_a_foreign_origin_is_refused(server: Running) -> None:
    refusal = await refused(server, origin="https://evil.example")

    assert refusal.response.status_code == 403


async def test_a_missing_origin_is_refused(server: Running) -> None:
    refusal = await refused(server, origin=None)

    assert refusal.response.status_code == 403


async def test_an_unknown_subprotocol_is_refused_with_the_known_ones(server: Running) -> None:
    refusal = await refused(server, subprotocols=["holdfast.v9.json", "graphql-ws"])

    if server.kind.explains_refusals:
        assert refusal.response.status_code == 400
        body = (refusal.response.body or b"").decode()
        assert JSON in body
        assert MSGPACK in body
    else:
        assert refusal.response.status_code == 403
        assert JSON not in (refusal.response.body or b"").decode()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((JSON,), JSON),
        ((MSGPACK,), MSGPACK),
        (("holdfast.v9.json", MSGPACK, JSON), MSGPACK),
        ((), None),
    ],
)
async def test_the_first_known_subprotocol_is_chosen(
    server: Running, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with Live(server, subprotocols=offered) as live:
        assert live.socket.subprotocol == chosen
        assert (await live.hello())["payload"]["user"] == server.users["ada"].id


async def test_an_unknown_path_is_refused(server: Running) -> None:
    refusal = await refused(server, path="live/nothing-here")

    assert refusal.response.status_code == 403


def test_a_handshake_that_breaks_off_does_no_harm(server: Running) -> None:
    for _ in range(5):
        Raw(server).break_off()

    with Raw(server) as raw:
        assert raw.head.startswith("HTTP/1.1 101")

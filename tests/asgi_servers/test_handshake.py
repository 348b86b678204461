"""Handshakes: admitted users and origins, and refusals."""

import pytest
from websockets.exceptions import InvalidStatus

from holdfast.protocol import codes

from .client import JSON, MSGPACK, Live, Raw
from .servers import Running, soon


async def refused(server: Running, **how: object) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refusal:
        async with Live(server, **how):  # type: ignore[arg-type]
            pass
    return refusal.value


async def test_a_session_cookie_identifies_the_user(server: Running) -> None:
    async with Live(server, user="grace") as grace:
        welcome = await grace.hello()

    assert welcome["payload"]["user"] == server.users["grace"].id
    assert welcome["payload"]["limits"] == {"message_bytes": 65536, "topics": 100, "calls": 32}


async def test_without_a_cookie_the_client_is_anonymous(server: Running) -> None:
    async with Live(server, user=None) as anonymous:
        welcome = await anonymous.hello()

    assert welcome["payload"]["user"] is None


async def test_http_and_websocket_share_the_port_and_the_session(server: Running) -> None:
    assert server.get("me/", "ada") == "ada"


@pytest.mark.parametrize("user", ["ada", None])
async def test_a_foreign_origin_is_final_for_a_holdfast_client(server: Running, user: str | None) -> None:
    """A page cannot read a 403, and would retry forever. The answer is the same for all clients."""
    async with Live(server, user=user, origin="https://evil.example") as live:
        code, _ = await live.closed()  # Daphne sends no reason

    assert code == codes.ORIGIN_REFUSED.close
    assert soon(lambda: server.state()["connections"] == 0)


async def test_a_foreign_origin_is_answered_alike_at_every_path(server: Running) -> None:
    for path in ("live/nothing-here", "ws/nothing-here"):
        async with Live(server, path=path, origin="https://evil.example") as live:
            assert (await live.closed())[0] == codes.ORIGIN_REFUSED.close


@pytest.mark.parametrize("subprotocols", [[], ["graphql-ws"]])
async def test_a_foreign_origin_is_forbidden_for_others(server: Running, subprotocols: list[str]) -> None:
    refusal = await refused(server, origin="https://evil.example", subprotocols=subprotocols)

    assert refusal.response.status_code == 403


async def test_a_foreign_origin_is_logged_once_with_the_way_out(server: Running) -> None:
    for _ in range(3):
        async with Live(server, origin=f"https://{server.kind.name}.example") as live:
            await live.closed()

    said = [
        line for line in server.process.output().splitlines() if f"https://{server.kind.name}.example" in line
    ]
    assert len(said) == 1, said
    assert 'HOLDFAST["ORIGINS"]' in said[0]


async def test_a_cookie_without_an_origin_is_refused(server: Running) -> None:
    refusal = await refused(server, origin=None)

    assert refusal.response.status_code == 403


async def test_a_program_without_an_origin_and_a_cookie_is_let_in(server: Running) -> None:
    async with Live(server, user=None, origin=None) as program:
        welcome = await program.hello()

    assert welcome["payload"]["user"] is None


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

"""Rules that take the identity: at a join, at a call, at a re-check, and with the test kit's clients."""

import asyncio
import re
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from holdfast import Identity, Topic, action
from holdfast.auth.base import Authenticator, AuthRequest
from holdfast.testing import AsyncLiveClient, Disconnected, JoinError
from holdfast.topics.registry import registry
from tests.support.clock import in_jumping_time, turns
from tests.support.connected import Socket, User, fleet, identity_of

READER, WRITER = {"scope": "read"}, {"scope": "write"}


class Board(Topic):
    """Admits by the claim of a token, in a worker thread."""

    route = "boards/<int:board>"

    def may_join(self, user: Any, identity: Identity) -> bool:
        assert user is identity.user
        return identity.claims.get("scope") == "write"

    @action
    def draw(self, caller: Any) -> str:
        return str(caller.identity.claims["scope"])


class Tenant(Topic):
    """Admits by host and query, on the event loop."""

    route = "tenants/<int:tenant>"

    async def may_join(self, user: Any, identity: Identity) -> bool:
        return identity.host == "a.example.com" and identity.query.get("as") != "guest"


async def connect(here: Any, identity: Identity, **hello: str) -> Socket:
    from holdfast.connections.connection import Connection
    from holdfast.protocol.codec import JSON

    process = here.processes[0]
    hub = await process.runtime.hub()
    socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity))
    socket.say(type="hello", payload=hello)
    await socket.hear()
    return socket


@pytest.mark.parametrize(("claims", "answer"), [(WRITER, "joined"), (READER, "error")])
async def test_a_rule_admits_by_the_claims_of_a_token(claims: dict[str, str], answer: str) -> None:
    async with fleet(Board) as here:
        here.tokens["t"] = Identity(user=User(1), claims=claims)
        socket = await connect(here, identity_of(None), token="t")
        socket.ask_to_join("boards/1")
        assert await first(socket) == answer


async def first(socket: Socket) -> str:
    """The type of the next frame, for which a worker thread may be needed."""
    for _ in range(500):
        if socket.frames:
            return str((await socket.hear())[0]["type"])
        await asyncio.sleep(0.01)
    raise AssertionError("no frame has come")


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"host": "a.example.com"}, "joined"),
        ({"host": "a.example.com", "query_string": "as=guest"}, "error"),
        ({"host": "b.example.com"}, "error"),
        ({}, "error"),
    ],
)
async def test_a_rule_admits_by_host_and_query(facts: dict[str, str], answer: str) -> None:
    async with fleet(Tenant) as here:
        socket = await connect(here, Identity(user=AnonymousUser(), **facts))  # type: ignore[arg-type]
        assert (await socket.join("tenants/1"))["type"] == answer


@in_jumping_time
async def test_a_recheck_asks_about_each_identity_of_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections of one user, of which one loses the right."""
    async with fleet(Tenant) as here:
        sockets = [await connect(here, Identity(user=User(1), host="a.example.com")) for _ in range(2)]
        for socket in sockets:
            assert (await socket.join("tenants/1"))["type"] == "joined"
        asked: list[Identity] = []

        async def may_join(self: Any, user: Any, identity: Identity) -> bool:
            asked.append(identity)
            return identity is not sockets[1].connection.identity

        monkeypatch.setattr(Tenant, "may_join", may_join)
        await Tenant.arecheck()
        await turns()
        assert [await socket.types() for socket in sockets] == [[], ["left"]]
        assert {id(each) for each in asked} == {id(socket.connection.identity) for socket in sockets}
        assert len(asked) == 2


@pytest.mark.django_db(transaction=True)
async def test_a_test_client_can_bring_an_identity_and_an_action_sees_it() -> None:
    anonymous = AnonymousUser()
    with registry.override([Board, Tenant]):
        async with AsyncLiveClient(Identity(user=anonymous, claims=WRITER)) as client:
            await client.join("boards/1")
            assert await client.call("boards/1", "draw") == "write"
        async with AsyncLiveClient(Identity(user=anonymous, claims=READER)) as client:
            with pytest.raises(JoinError, match="forbidden"):
                await client.join("boards/1")
        async with AsyncLiveClient(Identity(user=anonymous, host="a.example.com")) as client:
            await client.join("tenants/1")
        async with AsyncLiveClient(host="a.example.com") as client:
            await client.join("tenants/1")


def token_identity(token: str) -> Identity | None:
    return Identity(user=User(1), claims={"scope": token}) if token else None


@pytest.mark.django_db(transaction=True)
async def test_a_token_function_may_return_an_identity_and_the_connections_host_is_kept(
    settings: Any,
) -> None:
    settings.HOLDFAST = {"TOKEN_AUTHENTICATOR": f"{__name__}.token_identity"}
    with registry.override([Board, Tenant]):
        async with AsyncLiveClient(token="write", host="a.example.com") as client:
            await client.join("boards/1")
            await client.join("tenants/1")
        async with AsyncLiveClient(token="read") as client:
            with pytest.raises(JoinError, match="forbidden"):
                await client.join("boards/1")


class ByTicket(Authenticator):
    """A project's own authenticator, with an option."""

    def __init__(self, scope: str = "read") -> None:
        self.scope = scope

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        if request.token is None:
            return request.identify(AnonymousUser())
        return request.identify(User(1), claims={"scope": self.scope}) if request.token == "t" else None

    async def revalidate(self, identities: Any) -> Any:
        return identities


@pytest.mark.django_db(transaction=True)
async def test_a_project_names_its_own_authenticator_with_options(settings: Any) -> None:
    path = f"{__name__}.ByTicket"
    settings.HOLDFAST = {"AUTHENTICATOR": {"BACKEND": path, "OPTIONS": {"scope": "write"}}}
    with registry.override([Board]):
        async with AsyncLiveClient(token="t") as client:
            await client.join("boards/1")
        with pytest.raises(Disconnected, match="unauthenticated"):
            async with AsyncLiveClient(token="other"):
                raise AssertionError("not reached")
    settings.HOLDFAST = {"AUTHENTICATOR": path}
    with registry.override([Board]):
        async with AsyncLiveClient(token="t") as client:
            with pytest.raises(JoinError, match="forbidden"):
                await client.join("boards/1")


# ── how a rule is written ────────────────────────────────────────────────────────────────────────────────────────────


def declare(may_join: Any) -> type[Topic]:
    return type(Topic)("Room", (Topic,), {"route": "rooms/<int:room>", "may_join": may_join})


@pytest.mark.parametrize(
    ("may_join", "takes"),
    [
        (lambda self, user: True, False),
        (lambda self, user, identity: True, True),
        (lambda self, user, identity=None: True, True),
        (lambda self, user, strict=False: True, False),
        (lambda self, *args: True, False),
    ],
    ids=["user", "identity", "identity with a default", "another default", "any"],
)
def test_a_rule_takes_the_identity_if_a_parameter_has_that_name(may_join: Any, takes: bool) -> None:
    assert declare(may_join).declared.may_join_takes_identity is takes


@pytest.mark.parametrize(
    "may_join",
    [
        lambda self, user, context: True,
        lambda self, identity, user: True,
        lambda self, user, *, identity: True,
        lambda self, user, identity, more: True,
    ],
    ids=["another name", "another order", "keyword only", "one more"],
)
def test_a_rule_with_other_parameters_is_a_mistake_that_shows_at_once(may_join: Any) -> None:
    wanted = "write def may_join(self, user), or def may_join(self, user, identity): …"
    with pytest.raises(TypeError, match=re.escape(wanted)):
        declare(may_join)

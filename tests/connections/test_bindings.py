"""Bindings of a connection: to its session, also after a token; and to one user, who has a key."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

import holdfast
from holdfast import Identity, Topic, action
from holdfast import runtime as runtimes
from holdfast.auth.base import Authenticator, AuthRequest
from holdfast.connections.revocation import fingerprint
from holdfast.control.commands import EndSession
from holdfast.topics.owner import UserWithoutKey, key_text, owner_of_key, user_id
from tests.support.connected import Fleet, Socket, User, fleet
from tests.support.handshakes import identified
from tests.support.hubs import Scripted


class Hall(Topic):
    route = "halls/<int:hall>"

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def leave_for_good(self, caller: Any) -> str:
        caller.user.pk = None  # what Model.delete() does to the object
        return str(caller.owner)


async def opened_by_session(here: Fleet, session: str = "s1") -> Socket:
    Scripted().replace(here.processes[0].runtime.threads)
    socket: Socket = await here.processes[0].connect(User(1), session=session)
    assert (await socket.join("halls/1"))["type"] == "joined"
    return socket


async def refresh(socket: Socket, token: str) -> str:
    socket.say(type="refresh", ref=5, payload={"token": token})
    (frame,) = await socket.hear()
    return str(frame["type"])


# ── the session that opened a connection ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("owner", ["user:1", None], ids=["logout", "login as another user"])
async def test_a_connection_that_a_session_opened_ends_with_it_also_after_a_refresh(
    owner: str | None,
) -> None:
    async with fleet(Hall) as here:
        here.tokens["t"] = User(1)
        socket, other = await opened_by_session(here), await opened_by_session(here, "s2")
        for each in (socket, other):
            assert await refresh(each, "t") == "result"
        await runtimes.current().control.aissue(EndSession(owner=owner, session=fingerprint("s1")))
        await socket.hear()
        assert (socket.closed, other.closed) == (4401, None)


async def test_a_recheck_after_a_refresh_still_asks_for_the_session() -> None:
    async with fleet(Hall) as here:
        here.tokens["t"] = User(1)
        socket = await opened_by_session(here)
        await refresh(socket, "t")
        here.ended.add("s1")
        await holdfast.arecheck(1)
        await socket.hear()
        assert socket.closed == 4401


def test_a_binding_passes_to_an_identity_of_the_same_user_that_names_no_session_itself() -> None:
    before = Identity(user=User(1), session_key="a")
    same = Identity(user=User(1), claims={"scope": "read"})
    bound = same.bound_like(before, "1")
    assert (bound.session_key, bound.claims) == ("a", {"scope": "read"})
    assert Identity(user=User(2)).bound_like(before, "1").session_key is None
    assert Identity(user=User(1), session_key="b").bound_like(before, "1").session_key == "b"
    assert Identity(user=AnonymousUser()).bound_like(before, "1").session_key is None


# ── users without a key ──────────────────────────────────────────────────────────────────────────────────────────────


class Stateless:
    """A user made of a token, whose class forgot the key."""

    is_authenticated = True
    pk: Any = None


@pytest.mark.parametrize("pk", [None, ""])
def test_users_without_a_key_are_not_one_user(pk: Any) -> None:
    stateless = Stateless()
    stateless.pk = pk
    with pytest.raises(
        UserWithoutKey, match="a user of the class Stateless is signed in but has no primary key"
    ):
        user_id(stateless)
    for name in (key_text, owner_of_key):
        with pytest.raises(UserWithoutKey):
            name(None)


async def test_a_handshake_of_a_user_without_a_key_is_refused_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stranger(Authenticator):
        async def authenticate(self, request: AuthRequest) -> Identity | None:
            return request.identify(Stateless())

        async def revalidate(self, identities: Any) -> Any: ...

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for _ in range(100):
        assert await identified(Stranger(), {"type": "websocket", "headers": []}, send) is None
    assert sent == [{"type": "websocket.close"}] * 100
    assert len([message for message in caplog.messages if "has no primary key" in message]) == 1
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_token_of_a_user_without_a_key_is_not_valid() -> None:
    async with fleet(Hall) as here:
        here.tokens["t"] = Stateless()
        hub = await here.processes[0].runtime.hub()
        from holdfast.connections.connection import Connection
        from holdfast.protocol.codec import JSON
        from tests.support.connected import identity_of

        socket = Socket(
            lambda sink: Connection(here.processes[0].service, hub, sink, JSON, identity_of(None))
        )
        socket.say(type="hello", payload={"token": "t"})
        await socket.hear()
        assert socket.closed == 4401


async def test_a_caller_keeps_its_owner_when_an_action_deletes_the_user() -> None:
    async with fleet(Hall) as here:
        socket = await opened_by_session(here)
        for _ in range(2):
            socket.ask("halls/1", "leave_for_good")
            (frame,) = await socket.hear()
            assert frame["payload"] == "user:1"
        await socket.join("halls/2", ref=3)
        assert socket.closed is None

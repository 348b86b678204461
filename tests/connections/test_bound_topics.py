"""A connection whose credential is bound to topics joins these and no others."""

from typing import Any

import msgspec

from holdfast import Topic
from holdfast.auth.base import Identity
from holdfast.connections.connection import Connection
from holdfast.protocol.codec import JSON
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User, fleet
from tests.support.hubs import Scripted


class Room(Topic):
    route = "rooms/<slug:room>"

    async def may_join(self, user: Any) -> bool:
        return True


class Inbox(Topic):
    route = "users/<me>/inbox"

    async def may_join(self, user: Any) -> bool:
        return True


BOUND = Identity(user=User(7), topics=frozenset({"rooms/a", "users/7/inbox"}))


@in_jumping_time
async def test_other_topics_are_forbidden_like_unknown_ones() -> None:
    async with fleet(Room, Inbox) as here:
        process = here.processes[0]
        hub = await process.runtime.hub()
        Scripted().replace(process.runtime.threads)  # each refusal visits a thread
        socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, BOUND))
        socket.say(type="hello")
        await socket.hear()
        assert (await socket.join("rooms/a"))["type"] == "joined"
        assert (await socket.join("users/me/inbox"))["type"] == "joined", "by another name for the same topic"
        forbidden, unknown = await socket.join("rooms/b", ref=5), await socket.join("nowhere", ref=5)
        assert forbidden["payload"] == unknown["payload"]
        assert forbidden["payload"]["code"] == "forbidden"


@in_jumping_time
async def test_a_refresh_with_a_narrower_credential_ends_the_other_topics() -> None:
    async with fleet(Room) as here:
        here.tokens["narrow"] = BOUND
        socket = await here.processes[0].connect(User(7))
        await socket.join("rooms/a", ref=1)
        await socket.join("rooms/b", ref=2)
        socket.say(type="refresh", ref=3, payload={"token": "narrow"})
        left, result = sorted(await socket.hear(), key=lambda frame: str(frame["type"]))
        assert (left["topic"], left["payload"]["code"], result["type"]) == ("rooms/b", "forbidden", "result")


@in_jumping_time
async def test_a_recheck_does_not_widen_the_credential() -> None:
    async with fleet(Room) as here:
        here.tokens["narrow"] = BOUND
        process = here.processes[0]
        socket = await process.connect(User(7))
        socket.say(type="refresh", ref=3, payload={"token": "narrow"})
        await socket.hear()
        socket.connection.renew(msgspec.structs.replace(socket.connection.identity, user=User(7)))
        assert (await socket.join("rooms/b"))["payload"]["code"] == "forbidden"

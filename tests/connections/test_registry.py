"""The registry of connections: found by id and by owner."""

from typing import Any

import pytest

from holdfast.connections.connection import Connection
from holdfast.connections.registry import ConnectionRegistry
from holdfast.control.commands import Disconnect
from holdfast.protocol.codec import JSON
from holdfast.topics.owner import owner_of_id
from tests.support.clock import in_jumping_time
from tests.support.connected import Fleet, Socket, User, identity_of


class Counted:
    """A connection that counts how often a walk reads its owner."""

    transport_name = "websocket"

    def __init__(self, id: str, user: str | None, client: str = "tab") -> None:
        self.id, self.user_id, self.client = id, user, client
        self.looks = 0

    @property
    def owner(self) -> str:
        self.looks += 1
        return f"client:{self.client}" if self.user_id is None else f"user:{self.user_id}"


@pytest.fixture
def registry() -> Any:
    return ConnectionRegistry()


def test_a_user_is_found_without_another_string_for_each(registry: Any) -> None:
    one = Counted("a", "7" * 20)
    registry.add(one)
    assert registry.of("user:" + "7" * 20) == (one,)
    (key,) = registry._by_user
    assert key is one.user_id


def test_a_user_with_a_very_long_key_is_found(registry: Any) -> None:
    one = Counted("a", "7" * 300)
    registry.add(one)
    assert registry.of(owner_of_id("7" * 300)) == (one,)
    assert registry.count(owner_of_id("7" * 300)) == 1
    registry.discard(one)
    assert not registry.of(owner_of_id("7" * 300))


def test_a_connection_is_found_by_its_id_until_it_is_discarded(registry: Any) -> None:
    one = Counted("a", "7")
    registry.add(one)
    assert registry.get("a") is one
    assert one in registry
    registry.discard(one)
    registry.discard(one)
    assert registry.get("a") is None
    assert not registry
    assert registry.of("user:7") == ()


def test_the_connections_of_a_user_are_counted_as_they_come_and_go(registry: Any) -> None:
    made = [Counted(str(number), "7") for number in range(3)]
    counts = []
    for connection in made:
        registry.add(connection)
        counts.append(registry.count("user:7"))
    for connection in made:
        registry.discard(connection)
        counts.append(registry.count("user:7"))
    assert counts == [1, 2, 3, 2, 1, 0]
    assert not registry._by_user


def test_connections_are_counted_by_what_carries_them(registry: Any) -> None:
    one, other = Counted("a", "7"), Counted("b", None)
    other.transport_name = "sse"
    registry.add(one)
    registry.add(other)
    registry.discard(one)
    registry.discard(one)
    assert registry.transports == {"websocket": 0, "sse": 1}


def test_one_owner_is_found_without_a_look_at_other_connections(registry: Any) -> None:
    one, others = Counted("a", "7"), [Counted(f"b{number}", f"1{number}") for number in range(50)]
    for connection in (one, *others):
        registry.add(connection)
    before = [other.looks for other in others]
    assert registry.of("user:7") == (one,)
    assert [other.looks for other in others] == before


def test_an_anonymous_owner_is_found_by_the_client_id_that_it_has_now(registry: Any) -> None:
    one, other = Counted("a", None, "tab-1"), Counted("b", "7")
    registry.add(one)
    registry.add(other)
    one.client = "tab-2"
    assert registry.of_any(("client:tab-2", "user:7")) == (other, one)
    assert registry.count("client:tab-2") == 1
    assert registry.count("client:tab-1") == 0


def test_a_closed_connection_is_not_indexed_again(registry: Any) -> None:
    one = Counted("a", None)
    registry.add(one)
    registry.discard(one)
    one.user_id = "7"
    registry.index(one)
    assert registry.count("user:7") == 0


@in_jumping_time
async def test_a_connection_belongs_to_the_user_of_its_hellos_token() -> None:
    fleet = Fleet([])
    process = await fleet.process()
    fleet.tokens["t"] = User(8)
    hub = await process.runtime.hub()
    socket = await process.connect(User(7))
    assert process.service.connections.count("user:7") == 1
    await socket.hear()

    with_token = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity_of(User(7))))
    assert process.service.connections.count("user:7") == 2
    with_token.say(type="hello", payload={"token": "t"})
    await with_token.hear()
    counts = [process.service.connections.count(f"user:{key}") for key in (7, 8)]
    assert counts == [1, 1]
    process.service.revocation.carry_out([Disconnect(owner="user:8")])
    assert with_token.closed is not None
    assert socket.closed is None
    await process.stop()

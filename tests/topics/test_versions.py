"""Versions of events: clients of the version before get what they understand, and stored events are read as the newest."""

import json
import logging
from typing import Any, Self

import msgspec
import pytest

from holdfast import Event, Identity, Keep, Topic
from holdfast.connections.connection import Connection
from holdfast.connections.publishing import Publication, checked
from holdfast.log.base import Draft
from holdfast.protocol.codec import JSON
from holdfast.testing import LiveClient
from holdfast.topics.event import EventType
from holdfast.topics.registry import Registry
from holdfast.topics.registry import registry as topics_registry
from holdfast.topics.versions import known_to, written
from tests.support.connected import Fleet, Frame, Socket, User, fleet


class Posted1(Event, name="message.posted"):
    id: int
    author: str


class Author(msgspec.Struct):
    name: str
    flag: str = ""


class Posted2(Event, replaces=Posted1):
    id: int
    author: Author

    @classmethod
    def upcast(cls, old: Posted1) -> Self:
        return cls(old.id, Author(old.author))

    def downcast(self) -> Posted1:
        return Posted1(self.id, self.author.name)


class Posted(Event, replaces=Posted2):
    id: int
    authors: list[Author]

    @classmethod
    def upcast(cls, old: Posted2) -> Self:
        return cls(old.id, [old.author])

    def downcast(self) -> Posted2:
        if not self.authors:
            raise LookupError("a message without an author")
        return Posted2(self.id, self.authors[0])


class Seen(Event):
    id: int


class Passing1(Event, name="passing", durable=False):
    id: int


class Passing(Event, replaces=Passing1, durable=False):
    number: int

    @classmethod
    def upcast(cls, old: Passing1) -> Self:
        return cls(old.id)

    def downcast(self) -> Passing1:
        return Passing1(self.number)


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Posted, Seen, Passing]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return True


FIRST = {"id": 7, "author": "ada"}
SECOND = {"id": 7, "author": {"name": "ada", "flag": "gb"}}
NEWEST = {"id": 7, "authors": [{"name": "ada", "flag": "gb"}]}
ADA = [Author("ada", "gb")]


async def client(here: Fleet, versions: str = "") -> Socket:
    process = here.processes[0]
    hub = await process.runtime.hub()
    query = f"room=lobby&versions={versions}" if versions else ""
    identity = Identity(user=User(1), query_string=query)
    socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity))
    socket.say(type="hello", payload={})
    await socket.hear()
    return socket


def events(frames: list[Frame]) -> list[tuple[str, Any]]:
    return [(frame["name"], frame["payload"]) for frame in frames if frame["type"] == "event"]


def read(entries: Any) -> list[tuple[str, Any]]:
    return [(entry.name, json.loads(entry.payload)) for entry in entries]


# ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ("", FIRST),
        ("message.posted:1", FIRST),
        ("message.posted:2", SECOND),
        ("other:9,message.posted:3", NEWEST),
        ("message.posted:4", NEWEST),
        ("message.posted", FIRST),
        ("message.posted:x,:,message.posted:-1,%00", FIRST),
    ],
)
async def test_a_client_gets_the_version_that_it_knows(versions: str, expected: object) -> None:
    async with fleet(Room) as here:
        socket = await client(here, versions)
        await socket.join("rooms/lobby")
        await Room(room="lobby").apublish(Posted(7, ADA), Seen(7))
        frames = await socket.hear()
        assert events(frames) == [("message.posted", expected), ("seen", {"id": 7})]
        assert [frame["offset"] for frame in frames] == [1, 2]


async def test_an_event_that_is_not_stored_has_versions_too() -> None:
    async with fleet(Room) as here:
        older, newer = await client(here), await client(here, "passing:2")
        for socket in (older, newer):
            await socket.join("rooms/lobby")
        await Room(room="lobby").apublish(Passing(4))
        assert events(await older.hear()) == [("passing", {"id": 4})]
        assert events(await newer.hear()) == [("passing", {"number": 4})]


async def test_events_that_were_stored_in_an_older_version_reach_all_clients_as_they_understand_them() -> (
    None
):
    async with fleet(Room) as here:
        log = here.log
        log.append([Draft(topic="rooms/lobby", name="message.posted", payload=b'{"id":7,"author":"ada"}')])
        log.append([Draft(topic="rooms/lobby", name="message.posted@2", payload=json.dumps(SECOND).encode())])
        await Room(room="lobby").apublish(Posted(7, ADA))
        begin = {"epoch": log.heads(["rooms/lobby"])["rooms/lobby"].epoch, "offset": 0}
        bare = {"name": "ada", "flag": ""}
        for versions, expected in {
            "": [FIRST, FIRST, FIRST],
            "message.posted:2": [{"id": 7, "author": bare}, SECOND, SECOND],
            "message.posted:3": [{"id": 7, "authors": [bare]}, NEWEST, NEWEST],
        }.items():
            socket = await client(here, versions)
            socket.ask_to_join("rooms/lobby", since=begin)
            frames = await socket.hear()
            assert events(frames) == [("message.posted", payload) for payload in expected], versions
            assert [frame["offset"] for frame in frames[1:]] == [1, 2, 3]
            assert all(frame["stamp"] for frame in frames[1:])


async def test_the_log_says_which_version_an_event_has() -> None:
    async with fleet(Room) as here:
        await Room(room="lobby").apublish(Posted(7, ADA), Seen(7))
        position = here.log.heads(["rooms/lobby"])["rooms/lobby"].position
        begin = msgspec.structs.replace(position, offset=0, stamp=0)
        assert read(here.log.read("rooms/lobby", begin, 9)) == [
            ("message.posted@3", NEWEST),
            ("seen", {"id": 7}),
        ]


async def test_an_older_form_is_made_once_for_all_clients_that_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Posted] = []
    original = Posted.downcast

    def counted(event: Posted) -> Posted2:
        made.append(event)
        return original(event)

    monkeypatch.setattr(Posted, "downcast", counted)
    async with fleet(Room) as here:
        sockets = [await client(here, versions) for versions in ("", "", "", "message.posted:1", "seen:1")]
        for socket in sockets:
            await socket.join("rooms/lobby")
        await Room(room="lobby").apublish(Posted(7, ADA))
        assert [events(await socket.hear()) for socket in sockets] == [[("message.posted", FIRST)]] * 5
    assert len(made) == 1


async def test_a_client_that_knows_the_newest_versions_costs_nothing_more() -> None:
    async with fleet(Room) as here:
        socket = await client(here, "message.posted:3,passing:2")
        await socket.join("rooms/lobby")
        (joined,) = socket.connection.joined_topics()
        assert joined.subscription.subscriber is socket.connection


async def test_an_older_client_that_does_not_read_gets_everything_later_in_its_version() -> None:
    async with fleet(Room) as here:
        socket = await client(here)
        await socket.join("rooms/lobby")
        socket.connection.paused()
        for number in range(3):
            await Room(room="lobby").apublish(Posted(number, ADA))
        assert events(await socket.hear()) == []
        socket.connection.resumed()
        found = events(await socket.hear())
        assert found == [("message.posted", {"id": number, "author": "ada"}) for number in range(3)]


async def test_an_event_that_cannot_be_converted_stops_no_other_and_is_no_event_that_a_handler_expects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet(Room) as here:
        here.log.append([Draft(topic="rooms/lobby", name="message.posted@9", payload=b"{}")])
        begin = {"epoch": here.log.heads(["rooms/lobby"])["rooms/lobby"].epoch, "offset": 0}
        socket = await client(here)
        with caplog.at_level(logging.ERROR, "holdfast.topics"):
            socket.ask_to_join("rooms/lobby", since=begin)
            await Room(room="lobby").apublish(Posted(1, []), Posted(7, ADA))
            found = events(await socket.hear())
        assert found == [
            ("message.posted@9", {}),
            ("message.posted@3", {"id": 1, "authors": []}),
            ("message.posted", FIRST),
        ]
        said = [record.getMessage() for record in caplog.records]
        assert any("message.posted@9 cannot be read as version 3" in text for text in said)
        assert any("message.posted cannot be written as version 1" in text for text in said)


# ── versions that are gone, and servers that are older ───────────────────────────────────────────────────────────────


class Kept(Event, name="message.posted", version=3):
    id: int


class Later(Topic):
    route = "rooms/<slug:room>"
    events = [Kept]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return True


async def test_a_client_that_knows_only_versions_that_are_gone_is_refused_with_outdated() -> None:
    async with fleet(Later) as here:
        for versions in ("", "message.posted:2"):
            socket = await client(here, versions)
            answer = await socket.join("rooms/lobby")
            assert (answer["type"], answer["payload"]["code"]) == ("error", "outdated")
        socket = await client(here, "message.posted:3")
        assert (await socket.join("rooms/lobby"))["type"] == "joined"


async def test_a_class_can_be_published_as_the_version_that_older_servers_know() -> None:
    class Renamed1(Event, name="renamed"):
        title: str

    class Renamed(Event, replaces=Renamed1, publish_as=1):
        name: str

        @classmethod
        def upcast(cls, old: Renamed1) -> Self:
            return cls(old.title)

        def downcast(self) -> Renamed1:
            return Renamed1(self.name)

    class Hall(Room):
        route = "halls/<slug:hall>"
        events = [Renamed]

    async with fleet(Hall) as here:
        older, newer = await client(here), await client(here, "renamed:2")
        for socket in (older, newer):
            await socket.join("halls/north")
        await Hall(hall="north").apublish(Renamed("x"))
        assert events(await older.hear()) == [("renamed", {"title": "x"})]
        assert events(await newer.hear()) == [("renamed", {"name": "x"})]
        position = here.log.heads(["halls/north"])["halls/north"].position
        begin = msgspec.structs.replace(position, offset=0, stamp=0)
        assert read(here.log.read("halls/north", begin, 9)) == [("renamed", {"title": "x"})]


# ── services that publish ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("more", "payload"), [({}, FIRST), ({"version": 2}, SECOND), ({"version": 3}, NEWEST)]
)
def test_a_service_publishes_the_version_that_it_knows(more: dict[str, int], payload: object) -> None:
    registry = Registry()
    registry.register(Room)
    key: Any = type("Key", (), {"allows": lambda self, topic: True})()
    posted = {"topic": "rooms/lobby", "name": "message.posted", "payload": payload, **more}
    publication, ((_, event),) = checked(registry, key, json.dumps({"events": [posted]}).encode())
    assert isinstance(publication, Publication)
    assert isinstance(event, Posted)
    assert event.authors[0].name == "ada"


# ── declarations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_version_follows_from_the_class_that_is_replaced() -> None:
    assert [(each.__wire_name__, each.__version__) for each in (Posted1, Posted2, Posted)] == [
        ("message.posted", 1),
        ("message.posted", 2),
        ("message.posted", 3),
    ]
    assert Kept.__version__ == 3
    assert Seen.__version__ == 1


def declare(name: str, body: dict[str, Any] | None = None, /, **options: Any) -> Any:
    return EventType(
        name, (Event,), {"__annotations__": {}, "__module__": __name__, **(body or {})}, **options
    )


def cast(*_: Any) -> Any: ...


CASTS = {"upcast": classmethod(cast), "downcast": cast}


@pytest.mark.parametrize(
    ("options", "body", "message"),
    [
        ({"replaces": Posted1}, {}, "has no upcast; write: @classmethod def upcast"),
        ({"replaces": Posted1}, {"upcast": classmethod(cast)}, "has no downcast"),
        (
            {"replaces": Posted1, "name": "other"},
            CASTS,
            "is not the version before, an Event with the name 'other'",
        ),
        ({"replaces": Posted1, "version": 2}, CASTS, "version= follows from replaces="),
        ({"replaces": "Posted1"}, CASTS, "is not the version before"),
        ({"version": 0}, {}, "versions are 1, 2, 3"),
        ({"version": True}, {}, "versions are 1, 2, 3"),
        ({"publish_as": 2}, {}, "publish_as=2 is none of its versions: 1"),
        ({"name": "n" * 99, "version": 2}, {}, "has more than 100 characters"),
    ],
)
def test_a_mistake_in_a_version_is_an_error_that_says_the_way_out(
    options: dict[str, Any], body: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        declare("Changed", body, **options)


def test_a_topic_lists_one_version_of_an_event() -> None:
    with pytest.raises(TypeError, match=r"are both 'message\.posted' on the wire"):
        type("Two", (Topic,), {"route": "two", "events": [Posted1, Posted]})


def test_two_events_of_one_name_cannot_have_versions() -> None:
    other = type(
        "Other", (Topic,), {"route": "others", "events": [declare("Another", name="message.posted")]}
    )
    registry = Registry()
    registry.register(Room)
    with pytest.raises(
        TypeError, match=r"are both 'message\.posted' on the wire, and one of them has versions"
    ):
        registry.register(other)


def test_the_versions_of_now_are_those_that_a_page_asks_for() -> None:
    registry = Registry()
    registry.register(Room)
    assert written(registry.versions) == "message.posted:3,passing:2"
    assert known_to(f"a=b&versions={written(registry.versions)}") == registry.versions
    assert known_to("versions=hull:creak:2") == {"hull:creak": 2}
    assert known_to("a=versions") == {}


# ── live clients of tests ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("versions", "kind", "expected"),
    [
        (None, Posted, Posted(7, ADA)),
        ({}, Posted1, Posted1(7, "ada")),
        ({"message.posted": 2}, Posted2, Posted2(7, ADA[0])),
    ],
)
def test_a_live_client_knows_the_newest_versions_or_those_that_it_is_given(
    versions: Any, kind: type[Event], expected: Event
) -> None:
    with topics_registry.override([Room]), LiveClient(versions=versions) as ada:
        ada.join("rooms/lobby")
        Room(room="lobby").publish(Posted(7, ADA))
        assert ada.expect(kind) == expected

"""Topics: their names, their events, their positions, and mistakes in declaring one."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation

from holdfast import Event, Keep, Position, Topic, runtime
from holdfast.log.base import Draft
from holdfast.log.memory import MemoryLog
from holdfast.threads.threads import Inline, Threads
from holdfast.topics.declaration import Mode


class Posted(Event):
    id: int


class Typing(Event, durable=False):
    author: str


class Gone(Event):
    id: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Posted, Typing]
    keep = Keep(days=30)

    room: str


class Ticker(Topic):
    route = "ticker"
    events = [Posted]


class Process:
    """Stands in for the runtime: notes what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[bool, list[Draft]]] = []
        self.publisher = self
        self.broadcast = None
        self.event_bytes = 1000
        self.log = MemoryLog()
        self.threads, self.log_threads = Threads(1), Inline()

    def publish(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        self.published.append((durable, list(drafts)))

    async def apublish(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        await asyncio.sleep(0)
        self.publish(drafts, durable=durable)

    def runs(self) -> list[tuple[bool, list[str]]]:
        return [(durable, [draft.payload.decode() for draft in drafts]) for durable, drafts in self.published]


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    with runtime.using(cast("runtime.Runtime", process)):
        yield process
    process.threads.close()


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_is_named_by_its_parameters() -> None:
    room = Room(room="lobby")
    assert room.name == str(room) == "rooms/lobby"
    assert room.room == "lobby"
    assert repr(room) == "<Room rooms/lobby>"


def test_topics_with_the_same_name_are_equal() -> None:
    assert Room(room="lobby") == Room(room="lobby") != Room(room="attic")
    assert len({Room(room="lobby"), Room(room="lobby")}) == 1
    assert Room(room="lobby") != "rooms/lobby"


def test_a_topic_has_a_group_in_channels() -> None:
    assert Room(room="lobby").group == "holdfast.rooms.lobby"


def test_an_abstract_topic_cannot_be_made() -> None:
    class Abstract(Topic):
        pass

    with pytest.raises(TypeError, match=r'Abstract has no route, so it is abstract; give it one: route = "'):
        Abstract()


def test_a_parameter_is_checked_against_the_route() -> None:
    with pytest.raises(ValueError, match=r"^Room\(room='a b'\).*'rooms/<slug:room>'"):
        Room(room="a b")


# ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_published_as_a_draft(process: Process) -> None:
    Room(room="lobby").publish(Posted(1))
    draft = Draft(topic="rooms/lobby", name="posted", payload=b'{"id":1}')
    assert process.published == [(True, [draft])]


def test_an_event_that_is_not_durable_is_never_stored(process: Process) -> None:
    Room(room="lobby").publish(Typing("ada"))
    assert process.runs() == [(False, ['{"author":"ada"}'])]


def test_a_topic_without_keep_stores_nothing(process: Process) -> None:
    Ticker().publish(Posted(1))
    assert process.runs() == [(False, ['{"id":1}'])]


def test_durable_and_ephemeral_events_keep_their_order_in_runs(process: Process) -> None:
    Room(room="lobby").publish(Posted(1), Posted(2), Typing("ada"), Posted(3))
    assert process.runs() == [
        (True, ['{"id":1}', '{"id":2}']),
        (False, ['{"author":"ada"}']),
        (True, ['{"id":3}']),
    ]


async def test_apublish_does_the_same(process: Process) -> None:
    await Room(room="lobby").apublish(Posted(1), Typing("ada"))
    await Room(room="lobby").apublish(*(Posted(n) for n in (2, 3)))
    assert process.runs() == [
        (True, ['{"id":1}']),
        (False, ['{"author":"ada"}']),
        (True, ['{"id":2}', '{"id":3}']),
    ]


def test_publishing_nothing_is_no_error(process: Process) -> None:
    Room(room="lobby").publish()
    assert process.published == []


def test_a_caller_or_a_client_can_be_excluded(process: Process) -> None:
    class Caller:
        user, client, connection_id = None, "c1", "s1"

    Room(room="lobby").publish(Posted(1), exclude=Caller())
    Room(room="lobby").publish(Posted(1), exclude="~c2")
    assert [drafts[0].exclude for _, drafts in process.published] == ["c1", "~c2"]


def test_what_a_client_says_of_itself_is_not_excluded_without_its_user(process: Process) -> None:
    with pytest.raises(
        ValueError, match=r"exclude='c2' is what a client says .*holdfast\.client_id\(request\.user, …\)"
    ):
        Room(room="lobby").publish(Posted(1), exclude="c2")
    assert process.published == []


def test_an_event_that_is_not_declared_is_refused_with_the_way_out(process: Process) -> None:
    with pytest.raises(
        TypeError, match=r"^Room\.publish: Gone is not among Room\.events \(Posted, Typing\); add it there"
    ):
        Room(room="lobby").publish(Gone(1))


@pytest.mark.parametrize("value", [Posted, {"id": 1}, "posted", None])
def test_a_value_that_is_no_event_is_refused_with_the_way_out(process: Process, value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^Room\.publish: expected an event, got .*; write Room\.publish\(.*\(…\)\)"
    ):
        Room(room="lobby").publish(value)


def test_if_one_event_is_wrong_none_is_sent(process: Process) -> None:
    with pytest.raises(TypeError, match=r"^Posted\.id"):
        Room(room="lobby").publish(Typing("ada"), Posted("x"))  # type: ignore[arg-type]
    assert process.published == []


async def test_a_durable_publish_on_the_event_loop_says_what_to_write(process: Process) -> None:
    expected = r"^<Room rooms/lobby>: publish\(…\) waits for the log.*write: await apublish\(…\)"
    with pytest.raises(SynchronousOnlyOperation, match=expected):
        Room(room="lobby").publish(Posted(1))
    assert process.published == []


async def test_an_ephemeral_publish_on_the_event_loop_is_fine(process: Process) -> None:
    Room(room="lobby").publish(Typing("ada"))
    assert len(process.published) == 1


async def test_a_thread_of_an_event_loop_may_publish(process: Process) -> None:
    await asyncio.to_thread(Room(room="lobby").publish, Posted(1))
    assert len(process.published) == 1


# ── positions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_position_is_the_logs_head(process: Process) -> None:
    process.log.append([Draft(topic="rooms/lobby", name="posted", payload=b"{}")])
    position = Room(room="lobby").position()
    assert position == process.log.heads(["rooms/lobby"])["rooms/lobby"].position
    assert position.offset == 1


async def test_aposition_is_the_same(process: Process) -> None:
    position = await Room(room="lobby").aposition()
    assert isinstance(position, Position)
    assert position.offset == 0


def test_consistent_read_returns_a_position_and_the_value(process: Process) -> None:
    position, taken = Room(room="lobby").consistent_read(lambda: [1, 2])
    assert (position.offset, taken) == (0, [1, 2])


async def test_aconsistent_is_the_same(process: Process) -> None:
    position, taken = await Room(room="lobby").aconsistent_read(lambda: [1, 2])
    assert (position.offset, taken) == (0, [1, 2])


@pytest.mark.parametrize(
    ("take", "found"),
    [
        (lambda: User.objects.all(), "a queryset of User that has not been read"),
        (
            lambda: {"users": User.objects.filter(pk=1), "total": 1},
            "a queryset of User that has not been read",
        ),
        (lambda: (1, User.objects.values_list("pk")), "a queryset of User that has not been read"),
        (lambda: (n for n in [1]), "generator <generator"),
        (lambda: map(str, [1]), "map <map"),
    ],
)
def test_a_reading_function_that_has_not_read_is_an_error(process: Process, take: Any, found: str) -> None:
    with pytest.raises(TypeError) as raised:
        Room(room="lobby").consistent_read(take)
    assert str(raised.value).startswith(f"Room.consistent_read: the function returned {found}")
    assert "write list(…) around it" in str(raised.value)


async def test_it_is_one_for_async_code_too(process: Process) -> None:
    with pytest.raises(TypeError, match=r"^Room\.aconsistent_read: .* write list\(…\) around it"):
        await Room(room="lobby").aconsistent_read(lambda: User.objects.all())


@pytest.mark.django_db
def test_a_queryset_that_has_been_read_is_returned(process: Process) -> None:
    users = User.objects.all()
    _, (read, count) = Room(room="lobby").consistent_read(lambda: (users, len(users)))
    assert (read, count) == (users, 0)


def test_a_topic_that_stores_nothing_has_no_position(process: Process) -> None:
    with pytest.raises(
        TypeError, match=r"^Ticker\.position: .*no positions; make it durable.*Keep\(days=30\)"
    ):
        Ticker().position()


async def test_a_position_on_the_event_loop_says_what_to_write(process: Process) -> None:
    with pytest.raises(SynchronousOnlyOperation, match=r"write: await aposition\(\)"):
        Room(room="lobby").position()


# ── what a class says ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_class_is_checked_when_it_is_defined() -> None:
    class Full(Room):
        route = "full/<slug:room>"

        def may_join(self, user: Any) -> bool:
            return True

        async def may_call(self, caller: Any, action: str) -> bool:
            return True

        def snapshot(self) -> Any:
            return {}

    declared = Full.declared
    assert dict(declared.events) == {"posted": Posted, "typing": Typing}
    assert declared.durable
    assert (declared.may_join, declared.may_call, declared.snapshot) == (Mode.THREAD, Mode.LOOP, Mode.THREAD)
    assert (Room.declared.may_join, Ticker.declared.durable) == (None, False)


def test_an_abstract_base_passes_on_its_rules_and_actions() -> None:
    class Members(Topic):
        events = [Posted]

        async def may_join(self, user: Any) -> bool:
            return True

    class Club(Members):
        route = "clubs/<slug:club>"

    assert Club.declared.may_join is Mode.LOOP
    assert "posted" in Club.declared.events


def make(**attributes: Any) -> Any:
    return type("Room", (Topic,), {"route": "rooms/<slug:room>", **attributes})


class OtherPosted(Event, name="posted"):
    pass


class Holder(Event):
    what: Topic


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"route": "/rooms"}, r"^Room\.route: .*begins with '/'"),
        ({"events": Posted}, r"^Room\.events: .*is not a list; write events = \[MessagePosted, …\]"),
        ({"events": "posted"}, r"^Room\.events: 'posted' is not a list"),
        (
            {"events": ["posted"]},
            r"^Room\.events: 'posted' is not a subclass of Event; write: class MessagePosted",
        ),
        ({"events": [Posted(1)]}, r"^Room\.events: .*is not a subclass of Event.*list the class itself"),
        ({"events": [dict]}, r"^Room\.events: <class 'dict'> is not a subclass of Event"),
        (
            {"events": [Posted, OtherPosted]},
            r"^Room\.events: Posted and OtherPosted are both 'posted'.*name=",
        ),
        ({"events": [Holder]}, r"^event Holder: field 'what': Topic cannot be sent as JSON"),
        ({"keep": 30}, r"^Room\.keep: 30 is not a Keep; write keep = Keep\(days=30\)"),
        ({"may_join": True}, r"^Room\.may_join: True is not a method; write def may_join\(self, user\)"),
        (
            {"may_join": lambda self: True},
            r"^Room\.may_join\(self\) cannot be called.*write def may_join\(self, user\)",
        ),
        ({"may_call": lambda self, caller: True}, r"write def may_call\(self, caller, action\)"),
        ({"snapshot": lambda self, user: True}, r"write def snapshot\(self\)"),
    ],
)
def test_a_mistake_in_a_class_is_named_with_the_way_out(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(**attributes)


def test_an_event_that_is_too_large_is_refused_with_the_way_out(process: Process) -> None:
    process.event_bytes = 5
    with pytest.raises(ValueError, match=r"Posted is 9 bytes of JSON, .* may have 5; .*EVENT_BYTES"):
        Room(room="lobby").publish(Posted(17))
    assert process.published == []

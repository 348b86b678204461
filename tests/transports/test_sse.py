"""Server-sent events: what an ``EventSource`` relies on when it reconnects by itself (HTML Standard, section 9.2)."""

import json
import random
from typing import Any, ClassVar

import pytest

from holdfast import Event, Keep, Slow, Topic
from holdfast.protocol import event_ids
from holdfast.protocol.event_ids import BadEventId
from holdfast.protocol.limits import Limits
from holdfast.protocol.positions import Position
from tests.support.clock import in_jumping_time
from tests.support.connected import fleet

from .carriers import AsgiEventStreamServer
from .event_stream import EventStreamReader


class Said(Event):
    n: int


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()
    refused: ClassVar[set[str]] = set()

    async def may_join(self, user: Any) -> bool:
        return self.room != "closed" and self.room not in self.refused


class Cursor(Topic):
    route = "cursors/<slug:room>"
    events = [Said]
    slow = Slow.drop()

    async def may_join(self, user: Any) -> bool:
        return True


def serving() -> Any:
    return fleet(Room, Cursor, limits=Limits(heartbeat=1e9, topics=5))


def said(reader: EventStreamReader) -> list[tuple[str, int]]:
    """Return the events that were dispatched, by topic and number."""
    frames = [json.loads(data) for _, data in reader.messages]
    return [(frame["topic"], frame["payload"]["n"]) for frame in frames if frame["type"] == "event"]


def frames(reader: EventStreamReader, kind: str) -> list[dict[str, Any]]:
    return [frame for _, data in reader.messages if (frame := json.loads(data))["type"] == kind]


# ── resuming ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("topics", [["rooms/a"], ["rooms/a", "rooms/b", "cursors/a"]], ids=["one", "several"])
@in_jumping_time
async def test_a_stream_cut_at_any_byte_resumes_without_loss_or_repetition(topics: list[str]) -> None:
    chance = random.Random(7)
    async with serving() as here:
        service = here.processes[0].service
        first = await AsgiEventStreamServer.open(service, topics=topics)
        published = []
        for n in range(30):
            name = chance.choice([topic for topic in topics if topic.startswith("rooms/")])
            await Room(room=name.removeprefix("rooms/")).apublish(Said(n))
            await Cursor(room="a").apublish(Said(-1))
            published.append((name, n))
        await first.settle()
        whole = first.raw
        await first.vanish()
        for cut in sorted(chance.sample(range(len(whole)), 40)):
            before = EventStreamReader()
            before.feed(whole[:cut])
            if not frames(before, "joined"):
                continue
            after = await AsgiEventStreamServer.open(service, topics=topics, last_event_id=before.last_id)
            await after.settle()
            got = [event for event in said(before) + said(after.reader) if event[1] >= 0]
            for topic in {frame["topic"] for frame in frames(before, "joined")}:
                assert [event for event in got if event[0] == topic] == [
                    event for event in published if event[0] == topic
                ]
            await after.vanish()


@in_jumping_time
async def test_a_stream_resumes_the_topics_that_an_id_names_and_begins_the_others() -> None:
    async with serving() as here:
        service = here.processes[0].service
        first = await AsgiEventStreamServer.open(service, topics=["rooms/a"])
        await Room(room="a").apublish(Said(1))
        await first.settle()
        await first.vanish()
        await Room(room="a").apublish(Said(2))
        await Room(room="b").apublish(Said(3))
        last = first.reader.last_id
        second = await AsgiEventStreamServer.open(service, topics=["rooms/b", "rooms/a"], last_event_id=last)
        joined = {frame["topic"]: frame["payload"] for frame in frames(second.reader, "joined")}
        assert joined["rooms/a"]["recovered"] is True
        assert "recovered" not in joined["rooms/b"]
        assert said(second.reader) == [("rooms/a", 2)]


@pytest.mark.parametrize("topics", [["rooms/a"], ["rooms/a", "rooms/b"]], ids=["one", "several"])
@pytest.mark.parametrize(
    "strict", [True, False], ids=["each stream starts with an empty id", "the id is kept"]
)
@in_jumping_time
async def test_a_stream_that_resumed_and_was_cut_at_any_byte_resumes_again_in_every_topic(
    topics: list[str], strict: bool
) -> None:
    """HTML lets the last id begin empty with each stream, and browsers begin with the one that they sent."""
    async with serving() as here:
        service = here.processes[0].service
        first = await AsgiEventStreamServer.open(service, topics=topics)
        last = first.reader.last_id
        await first.vanish()
        for n, topic in enumerate(topics):
            await Room(room=topic.removeprefix("rooms/")).apublish(Said(n))
        second = await AsgiEventStreamServer.open(service, topics=topics, last_event_id=last)
        await second.settle()
        whole = second.raw
        await second.vanish()
        for cut in range(len(whole)):
            before = EventStreamReader(last_id=last, _id="" if strict else last)
            before.feed(whole[:cut])
            after = await AsgiEventStreamServer.open(service, topics=topics, last_event_id=before.last_id)
            await after.settle()
            assert sorted(said(before) + said(after.reader)) == [(name, n) for n, name in enumerate(topics)]
            await after.vanish()


@in_jumping_time
async def test_a_topic_that_is_refused_for_a_while_resumes_where_it_was() -> None:
    async with serving() as here:
        service = here.processes[0].service
        last = ""
        for refused in (False, True, False):
            Room.refused = {"b"} if refused else set()
            stream = await AsgiEventStreamServer.open(
                service, topics=["rooms/a", "rooms/b"], last_event_id=last or None
            )
            await stream.settle()
            last = stream.reader.last_id
            await stream.vanish()
            await Room(room="b").apublish(Said(int(refused)))
        assert said(stream.reader) == [("rooms/b", 0), ("rooms/b", 1)]


@in_jumping_time
async def test_a_position_that_is_not_honoured_is_reported_and_replaced() -> None:
    async with serving() as here:
        service = here.processes[0].service
        await Room(room="a").apublish(Said(1))
        gone = event_ids.entry("rooms/a", Position(epoch="before", offset=9))
        stream = await AsgiEventStreamServer.open(service, topics=["rooms/a"], last_event_id=gone)
        (joined,) = frames(stream.reader, "joined")
        assert joined["payload"]["recovered"] is False
        assert "before" not in stream.reader.last_id
        assert stream.reader.last_id.startswith(event_ids.mark_of("rooms/a"))


@in_jumping_time
async def test_the_streams_of_one_topic_share_the_bytes_of_an_event() -> None:
    async with serving() as here:
        service = here.processes[0].service
        one = await AsgiEventStreamServer.open(service, topics=["rooms/a"])
        other = await AsgiEventStreamServer.open(service, topics=["rooms/a"])
        await Room(room="a").apublish(Said(1))
        await one.settle()
        assert one.bodies[-1] is other.bodies[-1]


# ── requests that open no stream ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("topics", "last"),
    [([], None), ([f"rooms/{n}" for n in range(6)], None), (["rooms/a"], "nonsense"), (["x" * 256], None)],
    ids=["no topic", "too many topics", "a foreign id", "a long name"],
)
@in_jumping_time
async def test_a_request_that_makes_no_sense_is_refused_with_a_reason(
    topics: list[str], last: str | None
) -> None:
    async with serving() as here:
        client = "ada" if topics else None
        stream = await AsgiEventStreamServer.open(
            here.processes[0].service, client=client, topics=topics, last_event_id=last
        )
        assert stream.status == 400
        assert stream.raw.endswith(b"\n")
        assert not here.processes[0].service.connections


@in_jumping_time
async def test_a_client_that_has_nothing_to_join_yet_is_welcomed() -> None:
    async with serving() as here:
        stream = await AsgiEventStreamServer.open(here.processes[0].service, topics=[])
        assert stream.status == 200
        assert [json.loads(data)["type"] for data in stream.messages()] == ["welcome"]


@in_jumping_time
async def test_a_client_that_keeps_its_positions_names_them_by_the_place_of_the_topic() -> None:
    async with serving() as here:
        service = here.processes[0].service
        for room in ("a", "b"):
            await Room(room=room).apublish(Said(1))
            await Room(room=room).apublish(Said(2))
        first = await AsgiEventStreamServer.open(service, topics=["rooms/a"])
        (joined,) = frames(first.reader, "joined")
        at = Position(epoch=joined["payload"]["epoch"], offset=1)
        stream = await AsgiEventStreamServer.open(
            service, topics=["rooms/b", "rooms/a"], last_event_id=f"2@{at}"
        )
        assert said(stream.reader) == [("rooms/a", 2)]


@in_jumping_time
async def test_a_forbidden_topic_and_an_unknown_one_have_the_same_answer() -> None:
    async with serving() as here:
        stream = await AsgiEventStreamServer.open(
            here.processes[0].service, topics=["rooms/closed", "no/such/topic"]
        )
        answers = [frame["payload"] for frame in frames(stream.reader, "error")]
        assert len(answers) == 2
        assert answers[0] == answers[1]
        assert answers[0]["code"] == "forbidden"


@in_jumping_time
async def test_proxies_are_asked_not_to_buffer_a_stream() -> None:
    async with serving() as here:
        stream = await AsgiEventStreamServer.open(here.processes[0].service, topics=["rooms/a"])
        assert stream.headers[b"content-type"].startswith(b"text/event-stream")
        assert stream.headers[b"x-accel-buffering"] == b"no"
        assert b"no-transform" in stream.headers[b"cache-control"]
        assert stream.reader.retry is not None


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_is_read_back_as_the_positions_that_it_was_made_of() -> None:
    positions = {
        "rooms/a": Position(epoch="k3", offset=41, stamp=7),
        "rooms/ü": Position(epoch="q", offset=0),
    }
    text = ";".join(event_ids.entry(topic, position) for topic, position in positions.items())
    assert event_ids.parse(text, positions) == positions


def test_a_later_entry_replaces_an_earlier_one() -> None:
    old, new = (event_ids.entry("a", Position(epoch="k", offset=n)) for n in (1, 2))
    assert event_ids.parse(f"{old};{new}", ["a"]) == {"a": Position(epoch="k", offset=2)}


@pytest.mark.parametrize(
    "text", ["x", f"{event_ids.mark_of('a')}@", ";", f"{event_ids.mark_of('a')}@k:-1", "x" * 20_000]
)
def test_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadEventId):
        event_ids.parse(text, ["a"])

"""Joins, leaves, calls and events."""

import asyncio
import json
from uuid import uuid4

import pytest

from .client import JSON, MSGPACK, Live, Message
from .servers import Running


@pytest.fixture
def room() -> str:
    """A room for one test."""
    return f"r{uuid4().hex[:12]}"


def texts(events: list[Message]) -> list[str]:
    return [event["payload"]["text"] for event in events]


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_a_call_gets_its_result_and_all_members_the_event(
    server: Running, room: str, subprotocol: str
) -> None:
    topic = f"rooms/{room}"
    async with Live(server, subprotocols=[subprotocol]) as ada, Live(server, user="grace") as grace:
        joined = await ada.join(topic)
        await grace.join(topic)
        result = await grace.call(topic, "say", text="hi")
        event = await ada.event()

    assert joined["topic"] == topic
    assert joined["payload"]["offset"] == 0
    assert event.pop("stamp") > 0
    assert event == {
        "type": "event",
        "topic": topic,
        "name": "said",
        "offset": 1,
        "payload": {"id": result["payload"], "text": "hi"},
    }


async def test_nothing_comes_after_left(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server) as live:
        await live.join(topic)
        await live.request("leave", topic=topic)
        await asyncio.to_thread(server.get, f"say/{room}/")
        await live.send(type="ping")

        assert (await live.receive())["type"] == "pong"
        assert (await live.call(topic, "say", text="hi"))["payload"]["code"] == "not_joined"


async def test_me_is_the_caller_and_refuses_the_anonymous(server: Running) -> None:
    async with Live(server) as ada, Live(server, user=None) as anonymous:
        joined = await ada.join("inbox/me")
        refused = await anonymous.join("inbox/me")
        others = await ada.join(f"inbox/{server.users['grace'].id}")

    assert joined["topic"] == f"inbox/{server.users['ada'].id}"
    assert refused["payload"]["code"] == others["payload"]["code"] == "forbidden"


@pytest.mark.parametrize("topic", ["rooms/private-ada", "closed/any", "nothing/at-all", "rooms/UP CASE"])
async def test_forbidden_and_unknown_look_the_same(server: Running, topic: str) -> None:
    async with Live(server, user="grace") as grace:
        await grace.hello()
        await grace.send(type="join", ref=1, topic=topic)
        async with asyncio.timeout(10):
            answer = await grace.socket.recv()

    assert isinstance(answer, str)
    assert answer == (
        '{"type":"error","payload":{"code":"forbidden",'
        f'"message":"There is no such topic, or you may not use it."}},"ref":1,"topic":{json.dumps(topic)}}}'
    )


async def test_a_member_may_join(server: Running) -> None:
    async with Live(server) as ada:
        assert (await ada.join("rooms/private-ada"))["type"] == "joined"


async def test_exclude_omits_the_caller_only(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server) as ada, Live(server, user="grace") as grace:
        await ada.join(topic)
        await grace.join(topic)
        await ada.call(topic, "say_to_others", text="not for ada")
        await ada.call(topic, "typing")
        await ada.call(topic, "say", text="for all")

        assert texts([await ada.event()]) == ["for all"]
        received = await grace.events(3)

    assert [(event["name"], event.get("offset")) for event in received] == [
        ("said", 1),
        ("typing", None),
        ("said", 2),
    ]


async def test_a_big_result_arrives_whole_or_ends_the_connection(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server) as live:
        await live.join(topic)
        for length in (125, 126, 65535, 65536, 1_000_000):
            assert (await live.call(topic, "big", length=length))["payload"] == "x" * length

        if server.kind.largest_message is None:
            assert (await live.call(topic, "big", length=3_000_000))["payload"] == "x" * 3_000_000
        else:  # the client is told, and can come back
            await live.send(type="call", topic=topic, ref=100, name="big", payload={"length": 3_000_000})
            assert (await live.closed())[0] == 4050


async def test_a_refusal_and_an_unknown_action_are_errors_of_the_catalogue(
    server: Running, room: str
) -> None:
    async with Live(server) as live:
        await live.join(f"rooms/{room}")
        refused = await live.call(f"rooms/{room}", "refuse")
        unknown = await live.call(f"rooms/{room}", "fly")

    assert refused["payload"] == {
        "code": "refused",
        "message": "The auction has ended.",
        "reason": "too_late",
    }
    assert unknown["payload"]["code"] == "unknown_action"


async def test_slow_calls_delay_nothing_else(server: Running, room: str) -> None:
    """Answers come as soon as they are ready."""
    topic = f"rooms/{room}"
    async with Live(server) as live:
        await live.join(topic)
        await live.send(type="call", ref=101, topic=topic, name="wait", payload={"seconds": 0.4})
        await live.send(type="call", ref=102, topic=topic, name="wait", payload={"seconds": 0.2})
        await live.send(type="call", ref=103, topic=topic, name="big", payload={"length": 1})
        answers = [await live.until(lambda m: m["type"] == "result") for _ in range(3)]

    assert [answer["ref"] for answer in answers] == [103, 102, 101]


async def test_a_call_sent_again_on_another_connection_gets_the_first_answer(
    server: Running, room: str
) -> None:
    topic, key = f"rooms/{room}", uuid4().hex
    async with Live(server) as first, Live(server) as second:
        await first.join(topic)
        await second.join(topic)
        one = await first.call(topic, "say", key, text="once")
        two = await second.call(topic, "say", key, text="once")
        other = await second.call(topic, "big", key, length=1)

    assert one["payload"] == two["payload"]
    assert other["payload"]["code"] == "key_reused"
    assert json.loads(await asyncio.to_thread(server.get, f"sayings/{room}/")) == ["once"]


async def test_a_call_sent_again_while_it_runs_is_carried_out_once(server: Running, room: str) -> None:
    topic, key = f"rooms/{room}", uuid4().hex
    async with Live(server) as first, Live(server) as second:
        await first.join(topic)
        await second.join(topic)
        answers = await asyncio.gather(
            first.call(topic, "slowly", key, seconds=0.3), second.call(topic, "slowly", key, seconds=0.3)
        )

    assert answers[0]["payload"] == answers[1]["payload"]
    assert json.loads(await asyncio.to_thread(server.get, f"sayings/{room}/")) == ["slowly"]


async def test_a_call_continues_when_its_client_is_gone(server: Running, room: str) -> None:
    topic, key = f"rooms/{room}", uuid4().hex
    async with Live(server) as first:
        await first.join(topic)
        await first.send(type="call", ref=100, topic=topic, name="slowly", key=key, payload={"seconds": 0.3})
        await first.send(type="ping")
        await first.until(lambda message: message["type"] == "pong")
    async with Live(server) as second:
        await second.join(topic)
        answer = await second.call(topic, "slowly", key, seconds=0.3)

    assert answer["type"] == "result"
    assert json.loads(await asyncio.to_thread(server.get, f"sayings/{room}/")) == ["slowly"]


async def test_a_position_is_replayed_and_then_live_without_a_seam(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server) as live:
        joined = (await live.join(topic))["payload"]
    await asyncio.to_thread(server.get, f"say/{room}/?count=300")
    async with Live(server) as live:
        publishing = asyncio.create_task(asyncio.to_thread(server.get, f"say/{room}/?count=50"))
        since = {"epoch": joined["epoch"], "offset": 10}
        again = await live.join(topic, since)
        await publishing
        events = await live.events(340)
        await asyncio.to_thread(server.get, f"say/{room}/")
        events += await live.events(1)

    assert again["payload"]["recovered"] is True
    assert [event["offset"] for event in events] == list(range(11, 352))


async def test_an_unknown_epoch_is_not_recovered(server: Running, room: str) -> None:
    async with Live(server) as live:
        joined = await live.join(f"rooms/{room}", {"epoch": "elsewhere", "offset": 3})

    assert joined["payload"]["recovered"] is False


async def test_a_snapshot_agrees_with_the_position(server: Running, room: str) -> None:
    topic = f"boards/{room}"
    async with Live(server) as ada:
        await ada.join(topic)
        adding = asyncio.gather(
            *(ada.send(type="call", topic=topic, name="add", payload={"text": str(n)}) for n in range(30))
        )
        async with Live(server, user="grace", subprotocols=[MSGPACK]) as grace:
            joined = (await grace.join(topic))["payload"]
            await adding
            after = await grace.events(30 - joined["offset"])

    assert len(joined["snapshot"]) == joined["offset"]
    assert sorted([*joined["snapshot"], *texts(after)], key=int) == [str(n) for n in range(30)]


async def test_a_thousand_events_come_in_order_and_without_a_hole(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server) as ada, Live(server, user="grace", subprotocols=[MSGPACK]) as grace:
        await ada.join(topic)
        await grace.join(topic)
        publishing = [asyncio.to_thread(server.get, f"say/{room}/?count=100&size=128") for _ in range(10)]
        (received, too, *_) = await asyncio.gather(ada.events(1000), grace.events(1000), *publishing)

    assert [event["offset"] for event in received] == list(range(1, 1001))
    assert received == too


async def test_ephemeral_events_of_one_moment_all_arrive_in_order(server: Running, room: str) -> None:
    topic = f"tickers/{room}"
    async with Live(server) as ada, Live(server, user=None) as anonymous:
        await ada.join(topic)
        await anonymous.join(topic)
        await ada.call(topic, "burst", count=500)
        received = await anonymous.events(500)

        assert received == await ada.events(500)

    assert [event["payload"]["author"] for event in received] == [f"{number:06}" for number in range(500)]


async def test_events_of_a_sync_view_arrive(server: Running, room: str) -> None:
    async with Live(server) as live:
        await live.join(f"rooms/{room}")
        await asyncio.to_thread(server.get, f"say/{room}/?count=2")

        assert texts(await live.events(2)) == ["0:", "1:"]


async def test_events_of_an_async_view_arrive(server: Running, room: str) -> None:
    async with Live(server) as live:
        await live.join(f"rooms/{room}")
        await asyncio.to_thread(server.get, f"say-async/{room}/")

        assert texts(await live.events(1)) == ["from an async view"]


async def test_events_that_a_view_rolls_back_are_never_delivered(server: Running, room: str) -> None:
    async with Live(server) as live:
        await live.join(f"rooms/{room}")
        await asyncio.to_thread(server.get, f"take-back/{room}/")
        await asyncio.to_thread(server.get, f"say/{room}/")
        event = await live.receive()

    assert (event["offset"], event["payload"]["text"]) == (1, "0:")


async def test_several_topics_share_a_connection(server: Running, room: str) -> None:
    async with Live(server) as live:
        for number in range(20):
            await live.join(f"rooms/{room}-{number}")
        for number in reversed(range(20)):
            await asyncio.to_thread(server.get, f"say/{room}-{number}/")
        events = await live.events(20)

    assert [event["topic"] for event in events] == [
        f"rooms/{room}-{number}" for number in reversed(range(20))
    ]

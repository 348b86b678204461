"""Low limits and short heartbeats, kept and exceeded."""

import asyncio
import contextlib
from uuid import uuid4

from .client import Live, Raw
from .servers import STRICT, Running


async def test_the_welcome_states_the_limits(strict: Running) -> None:
    async with Live(strict) as live:
        welcome = await live.hello()

    assert welcome["payload"]["heartbeat"] == STRICT["HEARTBEAT_SECONDS"]
    assert welcome["payload"]["limits"] == {"message_bytes": 65536, "topics": 3, "calls": 2}


async def test_a_silent_client_is_closed_with_4001(strict: Running) -> None:
    async with Live(strict) as live:
        await live.hello()
        goodbye = await live.until(lambda message: message["type"] == "goodbye")
        code, _ = await live.closed()

    assert goodbye["payload"]["code"] == "heartbeat_missed"
    assert goodbye["payload"]["reconnect"] is True
    assert code == 4001


async def test_a_client_that_sends_nothing_at_all_is_welcomed_and_closed(strict: Running) -> None:
    async with Live(strict) as live:
        kinds = [(await live.receive())["type"] for _ in range(2)]
        code, _ = await live.closed()

    assert kinds == ["welcome", "goodbye"]
    assert code == 4001


async def test_pings_keep_a_connection(strict: Running) -> None:
    loop = asyncio.get_running_loop()
    async with Live(strict) as live:
        await live.hello()
        until = loop.time() + 3
        while loop.time() < until:
            await live.send(type="ping")
            assert (await live.receive())["type"] == "pong"
            await live.call("rooms/none", "wait")  # not joined: answered at once
            async with asyncio.timeout(None) as pause:
                pause.reschedule(loop.time() + 0.4)
                try:
                    await live.receive()
                except asyncio.CancelledError:
                    continue


async def test_a_client_that_does_not_answer_the_close_is_let_go(strict: Running) -> None:
    def silent() -> None:
        with Raw(strict) as raw:
            raw.send(type="hello")
            raw.until("goodbye")
            assert raw.receive_frame()[0] == 8
            with contextlib.suppress(ConnectionResetError):
                while raw.socket.recv(4096):
                    pass  # until the server ends the connection

    async with asyncio.timeout(30):
        await asyncio.to_thread(silent)


async def test_the_fourth_topic_of_three_is_too_many(strict: Running) -> None:
    async with Live(strict) as live:
        for number in range(3):
            assert (await live.join(f"rooms/many-{number}"))["type"] == "joined"
        refused = await live.join("rooms/many-3")
        await live.request("leave", topic="rooms/many-0")
        admitted = await live.join("rooms/many-3")

    assert refused["payload"]["code"] == "too_many_topics"
    assert admitted["type"] == "joined"


async def test_the_third_call_at_once_of_two_is_too_many(strict: Running) -> None:
    topic = f"rooms/r{uuid4().hex[:12]}"
    async with Live(strict) as live:
        await live.join(topic)
        for ref in (101, 102, 103):
            await live.send(type="call", ref=ref, topic=topic, name="wait", payload={"seconds": 0.2})
        answers = [await live.receive() for _ in range(3)]

    assert [(answer["type"], answer["ref"]) for answer in answers] == [
        ("error", 103),
        ("result", 101),
        ("result", 102),
    ]
    assert answers[0]["payload"]["code"] == "too_many_calls"


async def test_messages_above_the_rate_are_answered_with_the_time_to_retry(strict: Running) -> None:
    async with Live(strict) as live:
        for _ in range(14):
            await live.send(type="ping")
        answers = [await live.until(lambda m: m["type"] in ("pong", "error")) for _ in range(14)]

    kinds = [answer["type"] for answer in answers]
    assert kinds[:10] == ["pong"] * 10
    assert kinds[-1] == "error"
    assert answers[-1]["payload"]["code"] == "rate_limited"
    assert 0 < answers[-1]["payload"]["retry_after"] <= 0.2


async def test_a_flood_is_closed_with_4029(strict: Running) -> None:
    async with Live(strict) as live:
        for _ in range(150):
            await live.send_raw('{"type":"ping"}')
        goodbye = await live.until(lambda message: message["type"] == "goodbye")
        code, _ = await live.closed()

    assert goodbye["payload"]["code"] == "flooding"
    assert code == 4029

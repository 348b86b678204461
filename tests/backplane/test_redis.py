"""Properties of Redis: its URLs, envelopes, confirmations, and messages of other programs on its channels."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from holdfast.backplane.message_buffer import MessageBuffer
from holdfast.backplane.redis import RedisBackplane
from holdfast.redis.client import RedisStore
from tests.services.redis import RedisServer, running_redis

from .ends import Receiver

ROOT = Path(__file__).parents[2]


def backplane(url: str, **options: float) -> RedisBackplane:
    return RedisBackplane(RedisStore(url), **options)  # type: ignore[arg-type]


@pytest.fixture
async def looking(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    """A client that looks into the run's server."""
    client = redis.asyncio.Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def connections(looking: redis.asyncio.Redis) -> int:
    return sum(client["name"] == "holdfast" for client in await looking.client_list())


@pytest.fixture(params=["socket", "password", "tls", "another database"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server: RedisServer
    if request.param in ("socket", "another database"):
        server = request.getfixturevalue("redis_server")
        yield server.socket_url if request.param == "socket" else server.url.replace("/0", "/5")
    else:
        with running_redis(password="secret", tls=request.param == "tls") as server:
            yield server.url


async def test_it_works_however_redis_is_reached(url: str) -> None:
    sender, receiver = Receiver(backplane(url)), Receiver(backplane(url))
    await sender.start()
    await receiver.start("rooms/lobby")
    sender.backplane.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    await sender.backplane.stop()
    await receiver.backplane.stop()


async def test_a_wrong_password_is_logged_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis(password="right") as server:
        receiver = Receiver(backplane(server.url.replace("right", "hunter2")))
        await receiver.start("rooms/lobby")
        receiver.backplane.send("rooms/lobby", b"hello")
        await receiver.backplane.stop()
    assert "invalid username-password pair" in caplog.text
    assert "hunter2" not in caplog.text


RIGHTS = "+@connection +publish +subscribe +unsubscribe &holdfast:*"
RIGHTS_IN_CLUSTER = "+spublish +ssubscribe +sunsubscribe +cluster|slots +command"


@pytest.mark.parametrize("where", ["server", "cluster"])
async def test_a_user_with_the_rights_that_the_documentation_names_has_enough(
    request: pytest.FixtureRequest, where: str
) -> None:
    text = (ROOT / "docs/how-to/redis.md").read_text()
    assert RIGHTS in text
    assert RIGHTS_IN_CLUSTER in text
    fixture = request.getfixturevalue("redis_cluster" if where == "cluster" else "redis_server")
    rights = RIGHTS.split() + (RIGHTS_IN_CLUSTER.split() if where == "cluster" else [])
    servers: list[RedisServer] = fixture.servers if where == "cluster" else [fixture]
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret", *rights)
    url = fixture.url.replace("://", "://ann:secret@")
    sender, receiver = Receiver(backplane(url)), Receiver(backplane(url))
    await sender.start()
    await receiver.start("rooms/lobby")
    sender.backplane.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    await receiver.backplane.unsubscribe("rooms/lobby")
    await receiver.backplane.subscribe("rooms/lobby")
    assert receiver.interruptions == 0
    await sender.backplane.stop()
    await receiver.backplane.stop()
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "DELUSER", "ann")


@pytest.mark.parametrize("other", ["/1", "/0?prefix=another"])
async def test_installations_on_one_redis_do_not_hear_each_other(redis_url: str, other: str) -> None:
    theirs = await Receiver(backplane(redis_url.replace("/0", other))).start("rooms/lobby")
    ours = await Receiver(backplane(redis_url)).start("rooms/lobby")
    sender = await Receiver(backplane(redis_url)).start()
    sender.backplane.send("rooms/lobby", b"ours")
    await ours.has(("rooms/lobby", b"ours"))
    assert theirs.news == []
    for end in (theirs, ours, sender):
        await end.backplane.stop()


async def test_its_own_messages_do_not_come_back(redis_url: str) -> None:
    one = await Receiver(backplane(redis_url)).start("rooms/lobby")
    two = await Receiver(backplane(redis_url)).start("rooms/lobby")
    one.backplane.send("rooms/lobby", b"hello")
    await two.has(("rooms/lobby", b"hello"))
    two.backplane.send("rooms/lobby", b"answer")
    await one.has(("rooms/lobby", b"answer"))
    assert two.news == [("rooms/lobby", b"hello")]
    await one.backplane.stop()
    await two.backplane.stop()


async def test_entries_queued_in_one_turn_leave_in_one_message_per_topic(
    redis_url: str, looking: redis.asyncio.Redis
) -> None:
    receiver = await Receiver(backplane(redis_url)).start("rooms/a", "rooms/b")
    sender = await Receiver(backplane(redis_url)).start()
    await looking.config_resetstat()
    for number in range(100):
        sender.backplane.send("rooms/a" if number % 2 else "rooms/b", b"%d" % number)
    await receiver.until(lambda: len(receiver.news) == 100)
    assert receiver.of("rooms/a") == [b"%d" % number for number in range(1, 100, 2)]
    assert (await looking.info("commandstats"))["cmdstat_publish"]["calls"] == 2
    await sender.backplane.stop()
    await receiver.backplane.stop()


async def test_more_than_one_batch_arrives_whole_and_in_order(redis_url: str) -> None:
    receiver = await Receiver(backplane(redis_url)).start("rooms/lobby")
    sender = await Receiver(backplane(redis_url)).start()
    messages = [b"%d" % number + bytes(number % 5000) for number in range(9000)] + [bytes(1_500_000)]
    for message in messages:
        sender.backplane.send("rooms/lobby", message)
    await receiver.until(lambda: len(receiver.news) == len(messages))
    assert receiver.of("rooms/lobby") == messages
    assert not sender.backplane.lost  # type: ignore[attr-defined]
    await sender.backplane.stop()
    await receiver.backplane.stop()


@pytest.mark.parametrize("junk", [b"", b"hello", b"\x01short", b"\x01" + bytes(8) + b"\xff\xff\xff\xffx"])
async def test_messages_of_other_programs_on_a_channel_are_dropped(
    redis_url: str, looking: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    receiver = await Receiver(backplane(redis_url)).start("rooms/lobby")
    sender = await Receiver(backplane(redis_url)).start()
    assert await looking.publish("holdfast:0:{rooms/lobby}", junk) == 1
    sender.backplane.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    assert "of topic 'rooms/lobby' that Holdfast did not send" in caplog.text
    await sender.backplane.stop()
    await receiver.backplane.stop()


async def test_a_process_has_one_connection_to_listen_and_one_to_send_and_leaves_none(
    redis_url: str, looking: redis.asyncio.Redis
) -> None:
    before = await connections(looking)
    ends = [await Receiver(backplane(redis_url)).start(*[f"rooms/{n}" for n in range(50)]) for _ in range(2)]
    for end in ends:
        for number in range(50):
            end.backplane.send(f"rooms/{number}", b"hello")
    for end in ends:
        await end.until(lambda end=end: len(end.news) == 50)
    assert await connections(looking) == before + 4
    for end in ends:
        await end.backplane.stop()
    async with asyncio.timeout(10):
        while await connections(looking) != before:  # noqa: ASYNC110 - the server sees an end a moment later
            await asyncio.sleep(0.01)


async def test_a_subscription_is_there_when_subscribe_returns(
    redis_url: str, looking: redis.asyncio.Redis
) -> None:
    receiver = await Receiver(backplane(redis_url)).start()
    for number in range(20):
        await receiver.backplane.subscribe(f"rooms/{number}")
        assert (await looking.pubsub_numsub(f"holdfast:0:{{rooms/{number}}}"))[0][1] == 1
    await receiver.backplane.unsubscribe("rooms/3")
    await receiver.backplane.subscribe("rooms/last")
    assert (await looking.pubsub_numsub("holdfast:0:{rooms/3}"))[0][1] == 0
    await receiver.backplane.stop()


async def test_subscribe_returns_when_redis_has_confirmed_it(own_redis: RedisServer) -> None:
    receiver = await Receiver(backplane(own_redis.url)).start("rooms/lobby")
    own_redis.freeze()
    subscribing = asyncio.create_task(receiver.backplane.subscribe("rooms/captains"))
    done, _ = await asyncio.wait([subscribing], timeout=0.3)
    assert not done
    own_redis.thaw()
    await subscribing
    assert receiver.interruptions == 0
    with own_redis.client() as client:
        assert client.pubsub_numsub("holdfast:0:{rooms/captains}")[0][1] == 1
    await receiver.backplane.stop()


async def test_a_connection_that_ends_before_it_is_asked_is_not_asked_for_ever(redis_url: str) -> None:
    plane = backplane(redis_url, pulse=600, patience=0.05)
    receiver = await Receiver(plane).start("rooms/lobby")
    assert plane._subscriptions is not None
    [line] = plane._subscriptions._lines.values()
    line.link.close("cut")
    async with asyncio.timeout(5):
        await plane._subscriptions._feel(line)
    await receiver.until(lambda: receiver.interruptions)
    await plane.stop()


async def test_a_subscription_cut_off_by_its_caller_disturbs_no_other(redis_url: str) -> None:
    receiver = await Receiver(backplane(redis_url)).start("rooms/lobby")
    for number in range(20):
        task = asyncio.create_task(receiver.backplane.subscribe(f"rooms/{number}"))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
    sender = await Receiver(backplane(redis_url)).start()
    sender.backplane.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    assert receiver.interruptions == 0
    await sender.backplane.stop()
    await receiver.backplane.stop()


async def test_it_can_be_used_on_one_loop_after_another(redis_url: str) -> None:
    plane = backplane(redis_url)
    plane.send("rooms/lobby", b"from the background loop")
    assert await asyncio.to_thread(plane.flush, 10)

    def serve() -> list[tuple[str, bytes]]:
        async def main() -> list[tuple[str, bytes]]:
            receiver = await Receiver(plane).start("rooms/lobby")
            sender = await Receiver(backplane(redis_url)).start()
            sender.backplane.send("rooms/lobby", b"hello")
            await receiver.has(("rooms/lobby", b"hello"))
            plane.send("rooms/other", b"from the loop")
            await sender.backplane.stop()
            await plane.stop()
            return receiver.news

        return asyncio.run(main())

    for _ in range(2):
        assert await asyncio.to_thread(serve) == [("rooms/lobby", b"hello")]
    plane.send("rooms/lobby", b"from the background loop again")
    assert await asyncio.to_thread(plane.flush, 10)
    assert not plane.lost


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def contents(buffer: MessageBuffer) -> list[tuple[str, bool, list[bytes]]]:
    return [
        (batch.topic, batch.gap, [waiting.message for waiting in batch.content]) for batch in buffer.take()
    ]


def test_the_outbox_gives_up_the_oldest_messages_beyond_its_bound() -> None:
    buffer = MessageBuffer(messages=3)
    assert [buffer.put("a", b"%d" % number) for number in range(5)] == [False, False, False, True, True]
    assert contents(buffer) == [("a", True, [b"2", b"3", b"4"])]
    assert buffer.lost == {"overflow": 2}
    assert buffer.empty


def test_the_outbox_is_bounded_in_bytes_but_takes_one_message_of_any_size() -> None:
    buffer = MessageBuffer(size=10)
    buffer.put("a", b"123456")
    buffer.put("b", b"1234")
    assert buffer.put("c", b"x")
    assert buffer.put("d", b"y" * 50)
    assert contents(buffer) == [("d", False, [b"y" * 50])]
    assert sorted(contents(buffer)) == [("a", True, []), ("b", True, []), ("c", True, [])]


def test_messages_that_have_waited_too_long_are_given_up() -> None:
    clock = Clock()
    buffer = MessageBuffer(patience=10, now=clock)
    buffer.put("a", b"old")
    clock.time = 10.1
    buffer.put("a", b"new")
    assert contents(buffer) == [("a", True, [b"new"])]
    assert buffer.lost == {"expired": 1}


def test_messages_given_back_are_next_again_and_in_order() -> None:
    buffer = MessageBuffer()
    for number in range(4):
        buffer.put("ab"[number % 2], b"%d" % number)
    batches = buffer.take()
    buffer.put("a", b"4")
    buffer.give_back(batches)
    assert contents(buffer) == [("a", False, [b"0", b"2", b"4"]), ("b", False, [b"1", b"3"])]
    assert not buffer.lost


def test_messages_given_back_count_towards_the_limit_again() -> None:
    buffer = MessageBuffer(messages=3)
    for number in range(3):
        buffer.put("a", b"%d" % number)
    batches = buffer.take()
    buffer.put("a", b"3")
    buffer.give_back(batches)
    assert contents(buffer) == [("a", True, [b"1", b"2", b"3"])]
    assert buffer.lost == {"overflow": 1}


def test_a_gap_in_a_topic_is_reported_even_if_no_message_follows() -> None:
    buffer = MessageBuffer()
    buffer.put("a", b"x")
    buffer.failed(buffer.take())
    assert not buffer.empty
    batches = buffer.take()
    assert [(batch.topic, batch.gap, batch.content) for batch in batches] == [("a", True, [])]
    buffer.give_back(batches)
    assert contents(buffer) == [("a", True, [])]
    assert buffer.empty


def timed(function: Callable[[], object]) -> float:
    began = asyncio.get_running_loop().time()
    function()
    return asyncio.get_running_loop().time() - began


async def test_sending_never_waits_for_redis(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "holdfast")
    plane = RedisBackplane(RedisStore(own_redis.url), patience=0.5)
    plane.send("rooms/lobby", b"hello")
    assert await asyncio.to_thread(plane.flush, 10)
    own_redis.freeze()
    times = sorted(timed(lambda: plane.send("rooms/lobby", b"x" * 128)) for _ in range(15_000))
    # In seconds. Other programs of a busy machine take some of the slowest; a visit to Redis would take each of them half a second.
    assert times[-15] < 0.05, times[-20:]
    assert not await asyncio.to_thread(plane.flush, 0.1)
    own_redis.thaw()
    assert await asyncio.to_thread(plane.flush, 20)
    lost = plane.lost["overflow"] + plane.lost.get("failed", 0)  # the messages under way when patience ended
    assert 3_000 <= lost <= 5_000  # 10,000 wait, and up to 2,000 are under way
    assert len([record for record in caplog.records if "being dropped" in record.message]) == 1

"""Redis while it is killed, restarted empty, cut off, stopped, failed over, and re-sharded."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from holdfast.backplane.envelope import join
from holdfast.backplane.message_buffer import MessageBuffer
from holdfast.backplane.pipelined_connection import PublishConnections
from holdfast.backplane.redis import RedisBackplane
from holdfast.backplane.redis_connection import RedisConnection
from holdfast.backplane.topology import PRIMARY, SingleTopology
from holdfast.redis.client import RedisStore
from tests.fleet.chaos.proxy import Proxy
from tests.services.redis import RedisServer
from tests.services.redis_cluster import Cluster
from tests.services.redis_sentinel import Watched

from .ends import Receiver

pytestmark = pytest.mark.slow

QUICK = {"pulse": 0.2, "patience": 0.3}
NEVER = {"pulse": 600.0, "patience": 0.3}
"""The backplane never probes its connections, so it can notice a loss only without a probe."""

Make = Callable[..., RedisBackplane]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make backplanes, which are stopped in the end."""
    made: list[RedisBackplane] = []

    def make(url: str, **options: object) -> RedisBackplane:
        made.append(RedisBackplane(RedisStore(url), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    async with asyncio.timeout(20):
        for backplane in made:
            await backplane.stop()


async def until_it_arrives(sender: RedisBackplane, receiver: Receiver, topic: str, text: bytes) -> None:
    """Send until it arrives: messages that a sender gives up while Redis is away are lost, as the contract allows."""

    async def again() -> None:
        while True:
            sender.send(topic, text)
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(again())
    await receiver.until(lambda: (topic, text) in receiver.news)
    sending.cancel()


def warnings(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def test_after_a_restart_it_reports_one_interruption_and_continues(
    make: Make, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    sender = make(own_redis.url)
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))

    caplog.set_level(logging.WARNING, "holdfast")
    own_redis.kill()
    async with asyncio.timeout(5):
        await receiver.backplane.subscribe("rooms/while-away")  # neither raises nor takes long
    await receiver.backplane.unsubscribe("rooms/nothing")
    assert receiver.interruptions == 0
    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    for topic in ("rooms/lobby", "rooms/while-away"):
        await until_it_arrives(sender, receiver, topic, b"after")
    assert warnings(caplog, "may have missed") == 1
    assert warnings(caplog, "receives again") == 1
    assert warnings(caplog, "cannot send") <= 1


async def test_thousands_of_topics_are_subscribed_to_again(make: Make, own_redis: RedisServer) -> None:
    topics = [f"rooms/{number}" for number in range(5000)]
    receiver = await Receiver(make(own_redis.url, **NEVER)).start()
    await asyncio.gather(*[receiver.backplane.subscribe(topic) for topic in topics])
    own_redis.kill()
    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    with own_redis.client() as client:
        assert len(client.pubsub_channels("holdfast:0:{rooms/*}")) == 5000
    assert receiver.interruptions == 1


async def test_a_connection_that_was_cut_is_made_again_at_once(make: Make, own_redis: RedisServer) -> None:
    sender = make(own_redis.url, **NEVER)
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby")
    for round_ in range(1, 4):
        await asyncio.to_thread(own_redis.disconnect_everyone)
        await receiver.until(lambda round_=round_: receiver.interruptions == round_)
        await until_it_arrives(sender, receiver, "rooms/lobby", b"after %d" % round_)


async def test_a_redis_that_stands_still_is_noticed(
    make: Make, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    sender = make(own_redis.url, **QUICK)
    receiver = await Receiver(make(own_redis.url, **QUICK)).start("rooms/lobby")
    own_redis.freeze()
    async with asyncio.timeout(5):
        while not warnings(caplog, "no answer from Redis for 0.3 s"):  # noqa: ASYNC110 - only the log tells
            await asyncio.sleep(0.01)
        await receiver.backplane.subscribe("rooms/while-away")
    own_redis.thaw()
    await receiver.until(lambda: receiver.interruptions)
    for topic in ("rooms/lobby", "rooms/while-away"):
        await until_it_arrives(sender, receiver, topic, b"after")


async def test_a_subscription_that_redis_does_not_confirm_is_left_to_be_made_later(
    make: Make, own_redis: RedisServer
) -> None:
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby")
    own_redis.freeze()
    async with asyncio.timeout(4):
        await receiver.backplane.subscribe("rooms/late")
    own_redis.thaw()
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(make(own_redis.url), receiver, "rooms/late", b"hello")


async def test_a_receiver_that_is_merely_busy_is_not_interrupted(make: Make, own_redis: RedisServer) -> None:
    sender = make(own_redis.url)
    receiver = await Receiver(make(own_redis.url, **QUICK)).start("rooms/lobby")
    for _ in range(20):
        for number in range(1000):
            sender.send("rooms/lobby", b"%d" % number)
        await asyncio.sleep(0.05)
    await receiver.until(lambda: len(receiver.news) == 20_000)
    assert receiver.interruptions == 0


async def test_messages_wait_while_redis_is_away_and_arrive_when_it_is_back(
    make: Make, own_redis: RedisServer
) -> None:
    sender = make(own_redis.url)
    receiver = await Receiver(make(own_redis.url)).start("rooms/lobby")
    own_redis.kill()
    for number in range(100):  # over a connection that was never made, so none of them is in doubt
        sender.send("rooms/lobby", b"%d" % number)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    assert not sender.lost
    assert await asyncio.to_thread(sender.flush, 10)


async def test_subscribers_are_told_when_another_process_could_not_send(
    make: Make, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    sender = make(own_redis.url + "?timeout=0.2", pulse=0.0, patience=0.2, buffer=MessageBuffer(messages=10))
    # The receiver never checks its own connections, so it can know of the loss only from the sender.
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby", "rooms/quiet")
    stranger = await Receiver(make(own_redis.url, **NEVER)).start("rooms/other")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))
    own_redis.freeze()
    for number in range(30):
        sender.send("rooms/quiet" if number < 5 else "rooms/lobby", b"%d" % number)
    assert not await asyncio.to_thread(sender.flush, 0.5)
    own_redis.thaw()
    await receiver.until(lambda: receiver.interruptions)
    await receiver.until(lambda: ("rooms/lobby", b"29") in receiver.news)
    assert receiver.of("rooms/lobby") == [b"before", *[b"%d" % number for number in range(20, 30)]]
    assert receiver.of("rooms/quiet") == []
    assert stranger.interruptions == 0
    assert sender.lost == {"overflow": 20}
    assert warnings(caplog, "cannot send") == 1


async def test_messages_under_way_when_redis_hung_are_not_sent_twice(
    make: Make, own_redis: RedisServer
) -> None:
    sender = make(own_redis.url, pulse=600.0, patience=0.2)
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))
    own_redis.freeze()
    sender.send("rooms/lobby", b"in doubt")
    await asyncio.sleep(0.4)
    own_redis.thaw()
    sender.send("rooms/lobby", b"after")
    await receiver.until(lambda: ("rooms/lobby", b"after") in receiver.news)
    assert receiver.of("rooms/lobby").count(b"in doubt") <= 1
    assert sender.lost == {"failed": 1}
    await receiver.until(lambda: receiver.interruptions)


async def test_it_starts_while_redis_is_away_and_begins_when_it_comes(
    make: Make, own_redis: RedisServer
) -> None:
    own_redis.kill()
    receiver = await Receiver(make(own_redis.url)).start("rooms/lobby")
    await asyncio.to_thread(own_redis.start_again)
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(make(own_redis.url), receiver, "rooms/lobby", b"after")


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_it_stops_while_redis_is_away(make: Make, own_redis: RedisServer, how: str) -> None:
    receiver = await Receiver(make(own_redis.url)).start("rooms/lobby")
    receiver.backplane.send("rooms/lobby", b"hello")
    await asyncio.to_thread(receiver.backplane.flush, 5)
    own_redis.kill() if how == "killed" else own_redis.freeze()
    receiver.backplane.send("rooms/lobby", b"hello")
    async with asyncio.timeout(12):
        await receiver.backplane.stop()
    own_redis.thaw() if how == "frozen" else None


async def test_connections_may_be_closed_by_two_loops_at_once(own_redis: RedisServer) -> None:
    """The loop that ends closes its connections, and so does the loop that takes over from it."""
    connections = PublishConnections(RedisStore(own_redis.url), pulse=1.0, patience=1.0)
    pipe = await connections.pipe(PRIMARY)
    await asyncio.gather(connections.close(), connections.close())
    assert not pipe.link.open


# ── sentinels ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["in order", "killed", "frozen"])
async def test_it_follows_the_primary_that_sentinels_name(
    make: Make, own_sentinels: Watched, how: str
) -> None:
    sender = make(own_sentinels.url, pulse=0.5, patience=0.5)
    receiver = await Receiver(make(own_sentinels.url, pulse=0.5, patience=0.5)).start("rooms/lobby")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))
    old = own_sentinels.primary()
    {"in order": own_sentinels.fail_over, "killed": old.kill, "frozen": old.freeze}[how]()
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(sender, receiver, "rooms/lobby", b"after")
    if how == "frozen":
        old.thaw()  # and still believes that it is the primary, for a moment
    await until_it_arrives(sender, receiver, "rooms/lobby", b"in the end")


async def test_a_primary_that_sentinels_name_no_more_is_left_although_it_lives(
    make: Make, own_sentinels: Watched
) -> None:
    sender = make(own_sentinels.url, pulse=0.3, patience=0.5)
    receiver = await Receiver(make(own_sentinels.url, pulse=0.3, patience=0.5)).start("rooms/lobby")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))
    old, new = own_sentinels.servers
    await asyncio.to_thread(own_sentinels.watch, new)
    await receiver.until(lambda: receiver.interruptions)
    await until_it_arrives(sender, receiver, "rooms/lobby", b"after")
    for server, found in ((old, 0), (new, 1)):
        with server.client() as client:
            assert client.pubsub_numsub("holdfast:0:{rooms/lobby}")[0][1] == found


# ── a cluster ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.alone  # the nodes of the cluster agree within their timeouts
async def test_a_slot_that_moves_to_another_node_is_followed(make: Make, own_cluster: Cluster) -> None:
    sender = make(own_cluster.url)
    topics = [f"rooms/{number}" for number in range(30)]
    receiver = await Receiver(make(own_cluster.url, **NEVER)).start(*topics)
    for topic in topics:
        sender.send(topic, b"before")
    await receiver.until(lambda: len(receiver.news) == 30)
    before = own_cluster.owner("holdfast:0:{rooms/7}")
    assert await asyncio.to_thread(own_cluster.give_away, "holdfast:0:{rooms/7}") is not before
    await receiver.until(lambda: receiver.interruptions)
    for topic in topics:
        await until_it_arrives(sender, receiver, topic, b"after")


async def test_a_node_that_dies_is_replaced(make: Make, own_cluster: Cluster) -> None:
    sender = make(own_cluster.url, **QUICK)
    topics = [f"rooms/{number}" for number in range(30)]
    receiver = await Receiver(make(own_cluster.url, **QUICK)).start(*topics)
    for topic in topics:
        sender.send(topic, b"before")
    await receiver.until(lambda: len(receiver.news) == 30)
    own_cluster.owner("holdfast:0:{rooms/7}").kill()
    await receiver.until(lambda: receiver.interruptions)
    for topic in topics:
        await until_it_arrives(sender, receiver, topic, b"after")


async def test_it_recovers_although_new_topics_come_all_the_time(make: Make, redis_url: str) -> None:
    async with Proxy("redis", ("127.0.0.1", RedisStore(redis_url).address.hosts[0][1])) as proxy:
        receiver = await Receiver(make(f"redis://127.0.0.1:{proxy.port}/0", **NEVER)).start("rooms/lobby")
        proxy.delay = 0.03

        async def crowd() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(10_000):
                    group.create_task(receiver.backplane.subscribe(f"rooms/{number}"))
                    await asyncio.sleep(0.005)

        coming = asyncio.create_task(crowd())
        proxy.drop()
        try:
            await receiver.until(lambda: receiver.interruptions, seconds=5)
        finally:
            proxy.delay = 0.0
            coming.cancel()
            await asyncio.wait([coming])


async def test_a_link_that_is_closed_before_it_was_read_closes_its_connection(redis_url: str) -> None:
    nodes = SingleTopology(RedisStore(redis_url))
    link = RedisConnection(
        await nodes.connect("primary"), receive=lambda reply: None, ended=lambda reason: None
    )
    link.close()
    await link.closed()
    assert not link.connection.is_connected
    await nodes.close()


async def test_many_gaps_are_reported_together(
    make: Make, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await Receiver(make(own_redis.url, **NEVER)).start("rooms/lobby", "rooms/quiet")
    plane = make(own_redis.url)

    def publish() -> None:
        with own_redis.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(4000):
                pipeline.publish("holdfast:0:{rooms/quiet}", join(b"%08d" % number, [], gap=True))
            pipeline.execute()

    await asyncio.to_thread(publish)
    plane.send("rooms/lobby", b"after")
    await receiver.until(lambda: receiver.news)
    await receiver.until(lambda: receiver.interruptions)
    assert receiver.interruptions <= 10

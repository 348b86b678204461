"""The contract of base.py, on every backplane."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from holdfast.backplane import redis_subscriptions
from holdfast.backplane.base import Backplane
from holdfast.backplane.redis import RedisBackplane

from .ends import WAIT, Receiver

Ends = tuple[Backplane, Receiver]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that a busy machine does not confirm in time is made later; `test_redis_outage` tests that."""
    monkeypatch.setattr(redis_subscriptions, "SUBSCRIBE_SECONDS", 30.0)


async def test_a_message_reaches_a_subscriber_of_its_topic(ends: Ends) -> None:
    sender, receiver = ends
    sender.send("rooms/lobby", b"\x00\xff hello")
    await receiver.has(("rooms/lobby", b"\x00\xff hello"))


async def test_a_message_does_not_reach_its_sender(ends: Ends) -> None:
    sender, receiver = ends
    receiver.backplane.send("rooms/lobby", b"own")
    assert await asyncio.to_thread(receiver.backplane.flush, WAIT)
    sender.send("rooms/lobby", b"of the other")
    await receiver.has(("rooms/lobby", b"of the other"))


async def test_a_message_of_another_topic_does_not_arrive(ends: Ends) -> None:
    sender, receiver = ends
    sender.send("rooms/captains", b"secret")
    sender.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))


async def test_messages_of_one_topic_arrive_in_order(ends: Ends) -> None:
    sender, receiver = ends
    messages = [b"%d" % number for number in range(100)]
    for message in messages:
        sender.send("rooms/lobby", message)
    await receiver.has(*[("rooms/lobby", message) for message in messages])


async def test_messages_of_many_topics_arrive_each_in_order(ends: Ends) -> None:
    sender, receiver = ends
    topics = [f"rooms/{number}" for number in range(10)]
    for topic in topics:
        await receiver.backplane.subscribe(topic)
    for number in range(10):
        for topic in topics:
            sender.send(topic, b"%d" % number)
    await receiver.until(lambda: len(receiver.news) >= 100)
    for topic in topics:
        assert receiver.of(topic) == [b"%d" % number for number in range(10)]


async def test_messages_of_many_topics_can_be_sent_in_one_call(ends: Ends) -> None:
    sender, receiver = ends
    topics = [f"rooms/{number}" for number in range(10)]
    for topic in topics:
        await receiver.backplane.subscribe(topic)
    sender.send_many([(topic, b"%d" % number) for number in range(10) for topic in topics])
    await receiver.until(lambda: len(receiver.news) >= 100)
    for topic in topics:
        assert receiver.of(topic) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("topic", ["", "a.b", "a/b", "ä/☃", "x" * 255, "a b\n"])
async def test_a_topic_may_have_any_name(ends: Ends, topic: str) -> None:
    sender, receiver = ends
    await receiver.backplane.subscribe(topic)
    sender.send(topic, b"hello")
    await receiver.has((topic, b"hello"))


async def test_after_unsubscribe_nothing_more_arrives(ends: Ends) -> None:
    sender, receiver = ends
    await receiver.backplane.subscribe("rooms/captains")
    sender.send("rooms/lobby", b"before")
    await receiver.has(("rooms/lobby", b"before"))
    await receiver.backplane.unsubscribe("rooms/lobby")
    sender.send("rooms/lobby", b"after")
    sender.send("rooms/captains", b"last")
    await receiver.has(("rooms/lobby", b"before"), ("rooms/captains", b"last"))


async def test_subscribing_again_at_once_is_not_undone_by_the_unsubscription_before(ends: Ends) -> None:
    sender, receiver = ends
    for _ in range(5):
        await receiver.backplane.unsubscribe("rooms/lobby")
        await receiver.backplane.subscribe("rooms/lobby")
    await asyncio.sleep(0.05)
    sender.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))


async def test_subscribing_twice_delivers_once(ends: Ends) -> None:
    sender, receiver = ends
    await receiver.backplane.subscribe("rooms/lobby")
    sender.send("rooms/lobby", b"one")
    sender.send("rooms/lobby", b"two")
    await receiver.has(("rooms/lobby", b"one"), ("rooms/lobby", b"two"))


async def test_a_message_sent_right_after_subscribing_arrives(ends: Ends) -> None:
    sender, receiver = ends
    for number in range(30):
        await receiver.backplane.subscribe(f"rooms/{number}")
        sender.send(f"rooms/{number}", b"hello")
    await receiver.until(lambda: len(receiver.news) == 30)


async def test_after_stop_nothing_arrives_and_sending_stays_possible(ends: Ends) -> None:
    sender, receiver = ends
    await receiver.backplane.stop()
    sender.send("rooms/lobby", b"hello")
    receiver.backplane.send("rooms/lobby", b"hello")
    assert await asyncio.to_thread(receiver.backplane.flush, 5)
    assert receiver.news == []


async def test_it_can_be_started_again(ends: Ends) -> None:
    sender, receiver = ends
    await receiver.backplane.stop()
    await receiver.start("rooms/lobby")
    sender.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))


async def test_a_worker_thread_may_send(ends: Ends) -> None:
    sender, receiver = ends
    await asyncio.to_thread(sender.send, "rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))


async def test_eight_threads_may_send_at_once(ends: Ends) -> None:
    sender, receiver = ends
    together = threading.Barrier(8)

    def work(thread: int) -> None:
        together.wait()
        for number in range(12):
            sender.send("rooms/lobby", b"%d/%d" % (thread, number))

    threads = [threading.Thread(target=work, args=[thread]) for thread in range(8)]
    for thread in threads:
        thread.start()
    await receiver.until(lambda: len(receiver.news) >= 96)
    for thread in threads:
        thread.join()
    for which in range(8):
        mine = [message for message in receiver.of("rooms/lobby") if message.startswith(b"%d/" % which)]
        assert mine == [b"%d/%d" % (which, number) for number in range(12)]


async def test_one_end_never_interrupts_a_healthy_other(ends: Ends) -> None:
    sender, receiver = ends
    for _ in range(100):
        sender.send("rooms/lobby", b"x" * 1000)
    await receiver.until(lambda: len(receiver.news) == 100)
    assert receiver.interruptions == 0


async def test_a_receiver_that_raises_does_not_end_receiving(make: Callable[[], Backplane]) -> None:
    sender, receiver = Receiver(make()), Receiver(make())
    await sender.start()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    remember = receiver._receive

    def moody(topic: str, message: bytes) -> None:
        if message == b"bad":
            raise ValueError("a bug in the hub")
        remember(topic, message)

    receiver._receive = moody  # type: ignore[method-assign]
    await receiver.start("rooms/lobby")
    sender.backplane.send("rooms/lobby", b"bad")
    sender.backplane.send("rooms/lobby", b"good")
    await receiver.has(("rooms/lobby", b"good"))
    await sender.backplane.stop()
    await receiver.backplane.stop()


async def test_it_continues_on_another_loop_when_the_first_ended_without_stopping_it(
    make: Callable[[], Backplane],
) -> None:
    backplane, other = make(), make()
    if isinstance(backplane, RedisBackplane) and backplane._store.clustered:
        pytest.skip("redis-py's client of a cluster complains of having been left without a word")

    async def leave_without_a_word() -> None:
        await Receiver(backplane).start("rooms/lobby")

    await asyncio.to_thread(asyncio.run, leave_without_a_word())
    receiver, sender = await Receiver(backplane).start("rooms/lobby"), await Receiver(other).start()
    other.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    for end in (receiver, sender):
        await end.backplane.stop()

"""The exchange that connects several hubs of one test, and the faults it can be given."""

import asyncio
import threading

from holdfast.backplane.memory import MemoryBackplane, MemoryExchange

from .ends import Receiver


async def connected(exchange: MemoryExchange) -> tuple[MemoryBackplane, Receiver]:
    return exchange.backplane(), await Receiver(exchange.backplane()).start("t")


def test_a_memory_backplane_alone_reaches_no_other_process_and_says_so() -> None:
    alone = MemoryBackplane()
    alone.send("t", b"hello")
    assert not alone.shared
    assert alone.flush(0)
    assert MemoryExchange().backplane().shared


async def test_a_message_reaches_every_other_subscriber_and_not_its_sender() -> None:
    exchange = MemoryExchange()
    ends = [await Receiver(exchange.backplane()).start("t") for _ in range(3)]
    ends[0].backplane.send("t", b"hello")
    await asyncio.sleep(0)
    assert [end.news for end in ends] == [[], [("t", b"hello")], [("t", b"hello")]]


async def test_on_its_own_loop_it_delivers_in_the_next_turn() -> None:
    sender, receiver = await connected(MemoryExchange())
    sender.send("t", b"hello")
    assert receiver.news == []
    await asyncio.sleep(0)
    assert receiver.news == [("t", b"hello")]


async def test_from_another_thread_it_delivers_in_the_receiver_s() -> None:
    sender, receiver = await connected(MemoryExchange())
    threads: list[threading.Thread] = []
    receiver._receive = lambda topic, message: threads.append(threading.current_thread())  # type: ignore[method-assign]
    await receiver.start("t")
    asyncio.get_running_loop().set_debug(True)  # then a loop refuses what another thread should not do
    await asyncio.to_thread(sender.send, "t", b"hello")
    await asyncio.sleep(0)
    assert threads == [threading.current_thread()]


async def test_a_fault_loses_doubles_and_reorders() -> None:
    exchange = MemoryExchange()
    sender, receiver = await connected(exchange)
    held: list[bytes] = []

    def fault(topic: str, message: bytes) -> list[bytes]:
        if message == b"lost":
            return []
        if message == b"late":
            held.append(message)
            return []
        return [message, message, *held]

    exchange.fault = fault
    for message in (b"lost", b"late", b"twice"):
        sender.send("t", message)
    await asyncio.sleep(0)
    assert receiver.of("t") == [b"twice", b"twice", b"late"]


async def test_an_interruption_and_a_foreign_message_reach_every_receiver() -> None:
    exchange = MemoryExchange()
    ends = [await Receiver(exchange.backplane()).start("t") for _ in range(2)]
    exchange.interrupt()
    exchange.group_send("t", {"type": "chat.message"})
    await asyncio.sleep(0)
    assert [end.interruptions for end in ends] == [1, 1]
    assert [end.foreign for end in ends] == [[("t", {"type": "chat.message"})]] * 2


def test_a_receiver_whose_loop_is_closed_is_passed_over() -> None:
    exchange = MemoryExchange()
    sender, receiver = asyncio.run(connected(exchange))
    sender.send("t", b"hello")
    assert receiver.news == []

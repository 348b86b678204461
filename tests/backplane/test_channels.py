"""Properties of channel layers: messages of other programs, other serializers, expiry, mistakes in settings."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, channel_layers
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.groups import group_name

from .conftest import CORE, IN_MEMORY, PUBSUB, REDIS_LAYERS, configure
from .ends import WAIT, Receiver


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize("backend", REDIS_LAYERS)
async def test_a_group_send_from_a_sync_view_reaches_the_topic(
    backend: str, settings: Settings, redis_url: str
) -> None:
    configure(settings, backend, redis_url)
    topics = ["rooms/lobby", "a topic/with ☃ in a hashed group"]
    receiver = await Receiver(ChannelsBackplane("one")).start(*topics)

    def view() -> None:
        for topic in topics:
            async_to_sync(channel_layers["two"].group_send)(
                group_name(topic), {"type": "chat.message", "n": 7}
            )

    await asyncio.to_thread(view)
    await receiver.until(lambda: len(receiver.foreign) == 2)
    assert sorted(receiver.foreign) == sorted((topic, {"type": "chat.message", "n": 7}) for topic in topics)
    assert receiver.news == []
    await receiver.backplane.stop()


async def test_a_group_send_in_the_same_process_reaches_the_topic(settings: Settings) -> None:
    configure(settings, IN_MEMORY, None)
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby", "rooms/captains")
    await channel_layers["one"].group_send("holdfast.rooms.captains", {"type": "hello"})
    await receiver.until(lambda: receiver.foreign)
    assert receiver.foreign == [("rooms/captains", {"type": "hello"})]
    await receiver.backplane.stop()


@pytest.mark.parametrize("backend", REDIS_LAYERS)
async def test_a_layer_that_serializes_as_json_carries_bytes_too(
    backend: str, settings: Settings, redis_url: str
) -> None:
    configure(settings, backend, redis_url, serializer_format="json")
    sender = ChannelsBackplane("two")
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    sender.send("rooms/lobby", b"\x00\xff")
    sender.send("rooms/lobby", b"plain")
    await receiver.has(("rooms/lobby", b"\x00\xff"), ("rooms/lobby", b"plain"))
    await receiver.backplane.stop()


async def test_its_own_messages_do_not_come_back(settings: Settings) -> None:
    configure(settings, IN_MEMORY, None)
    one = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    two = await Receiver(ChannelsBackplane("two")).start("rooms/lobby")
    one.backplane.send("rooms/lobby", b"hello")
    await two.has(("rooms/lobby", b"hello"))
    two.backplane.send("rooms/lobby", b"answer")
    await one.has(("rooms/lobby", b"answer"))
    assert two.news == [("rooms/lobby", b"hello")]
    await one.backplane.stop()
    await two.backplane.stop()


async def test_an_ordinary_consumer_of_the_same_layer_keeps_its_messages(
    settings: Settings, redis_url: str
) -> None:
    configure(settings, CORE, redis_url)
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    layer = channel_layers["one"]
    consumer = await layer.new_channel()
    await layer.group_add("news", consumer)
    waiting = asyncio.create_task(layer.receive(consumer))
    await channel_layers["two"].group_send("news", {"type": "theirs"})
    ChannelsBackplane("two").send("rooms/lobby", b"ours")
    await receiver.has(("rooms/lobby", b"ours"))
    async with asyncio.timeout(WAIT):
        assert (await waiting) == {"type": "theirs"}
    assert receiver.foreign == []
    await receiver.backplane.stop()


async def test_a_burst_beyond_the_core_layer_s_default_capacity_is_not_lost(
    settings: Settings, redis_url: str
) -> None:
    configure(settings, CORE, redis_url, capacity=10)
    sender = ChannelsBackplane("two")
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    layer = channel_layers["two"]
    for _ in range(3):  # faster than any process receives
        await asyncio.gather(*[layer.group_send("holdfast.rooms.lobby", {"type": "x"}) for _ in range(50)])
    await receiver.until(lambda: len(receiver.foreign) == 150)
    assert not sender.lost
    await receiver.backplane.stop()


@pytest.mark.slow
@pytest.mark.parametrize("backend", REDIS_LAYERS)
async def test_a_pause_between_messages_is_no_error(backend: str, settings: Settings, redis_url: str) -> None:
    configure(settings, backend, redis_url)
    layer = channel_layers["one"]
    receiver = await Receiver(ChannelsBackplane("one", pulse=60)).start("rooms/lobby")
    consumer = asyncio.create_task(layer.receive(await layer.new_channel()))
    done, _ = await asyncio.wait([consumer], timeout=6)  # redis-py gives up reading after 5
    assert not done
    assert receiver.interruptions == 0
    consumer.cancel()
    await asyncio.wait([consumer])
    await receiver.backplane.stop()


class Spy(InMemoryChannelLayer):
    """A layer that counts, and fails on request."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.added: list[str] = []
        self.added_again = asyncio.Event()
        self.error: Exception | None = None
        self.delay = 0.0
        self.deaf = False  # to pulses
        self.swallow = 0  # cancellations

    async def group_add(self, group: str, channel: str) -> None:
        if group in self.added:
            self.added_again.set()
        self.added.append(group)
        if self.delay:  # as pub/sub does it: the request is on its way when this returns
            later = super().group_add(group, channel)
            self.adding = asyncio.get_running_loop().call_later(
                self.delay, lambda: asyncio.ensure_future(later)
            )
        else:
            await super().group_add(group, channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        try:
            received: dict[str, Any] = await super().receive(channel)
        except asyncio.CancelledError:
            if not self.swallow:
                raise
            self.swallow -= 1  # as asyncio.wait_for may do it
            received = await super().receive(channel)
        return received

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.error is not None and message["type"] == "holdfast.news":
            raise self.error
        if not (self.deaf and message["type"] == "holdfast.echo"):
            await super().group_send(group, message)


def spy(settings: Settings, **config: Any) -> Spy:
    configure(settings, IN_MEMORY, None)
    layer = Spy(**config)
    channel_layers.set("one", layer)
    return layer


async def test_memberships_are_renewed_after_half_of_their_life(settings: Settings) -> None:
    layer, clock = spy(settings, group_expiry=1000), Clock()
    backplane = ChannelsBackplane("one", pulse=0.01, now=clock)
    receiver = await Receiver(backplane).start("rooms/lobby")
    clock.time = 499
    await asyncio.sleep(0.05)
    assert not layer.added_again.is_set()
    clock.time = 500
    async with asyncio.timeout(WAIT):
        await layer.added_again.wait()
    assert receiver.interruptions == 0
    await backplane.stop()
    assert layer.added.count("holdfast.rooms.lobby") == 2


async def test_a_subscription_is_complete_when_it_says_so(settings: Settings) -> None:
    layer = spy(settings)
    layer.delay = 0.03
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby")
    await layer.group_send("holdfast.rooms.lobby", {"type": "hello"})
    await receiver.until(lambda: receiver.foreign)
    await receiver.backplane.stop()


async def test_a_group_that_the_layer_forgot_is_joined_again_and_logged(settings: Settings) -> None:
    layer = spy(settings)
    backplane = ChannelsBackplane("one", pulse=0.01, patience=0.1)
    receiver = await Receiver(backplane).start("rooms/lobby")
    layer.groups.clear()
    await receiver.until(lambda: receiver.interruptions)
    await layer.group_send("holdfast.rooms.lobby", {"type": "hello"})
    await receiver.until(lambda: receiver.foreign)
    assert receiver.interruptions == 1
    await backplane.stop()


async def test_a_pulse_that_waits_behind_other_messages_is_no_trouble(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    layer = spy(settings)
    receiver = await Receiver(ChannelsBackplane("one", pulse=0.01, patience=0.5)).start("rooms/lobby")
    layer.deaf = True
    for _ in range(40):
        await layer.group_send("holdfast.rooms.lobby", {"type": "hello"})
        await asyncio.sleep(0.02)
    assert [record.message for record in caplog.records] == []
    await receiver.backplane.stop()


async def test_it_stops_although_a_cancellation_is_swallowed(settings: Settings) -> None:
    layer = spy(settings)
    layer.swallow = 3
    receiver = await Receiver(ChannelsBackplane("one")).start("rooms/lobby", "rooms/captains")
    await asyncio.sleep(0)
    await receiver.backplane.stop()
    assert layer.swallow == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_full_channel_is_counted_and_not_raised(settings: Settings) -> None:
    layer = spy(settings)
    backplane = ChannelsBackplane("one")
    await Receiver(backplane).start("rooms/lobby")
    layer.error = ChannelFull()
    backplane.send("rooms/lobby", b"hello")
    assert await asyncio.to_thread(backplane.flush, WAIT)
    assert backplane.lost == {"full": 1}
    await backplane.stop()


async def test_starting_twice_is_refused(settings: Settings) -> None:
    configure(settings, IN_MEMORY, None)
    receiver = await Receiver(ChannelsBackplane("one")).start()
    with pytest.raises(RuntimeError, match="started already"):
        await receiver.start()
    await receiver.backplane.stop()


def test_a_layer_that_is_not_configured_is_named(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {}
    with pytest.raises(ImproperlyConfigured, match=r"'default'.*CHANNEL_LAYERS"):
        ChannelsBackplane()


@pytest.mark.parametrize(("backend", "shared"), [(IN_MEMORY, False), (CORE, True), (PUBSUB, True)])
def test_only_the_in_memory_layer_reaches_no_other_process(
    backend: str, shared: bool, settings: Settings
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert ChannelsBackplane().shared is shared

"""Channels' in-memory layer beside topics: no topic has a group there, and ``group_send`` reaches topics all the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers
from pytest_django import Settings

from holdfast import conf, wiring
from holdfast.backplane.base import Backplane
from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.layers import WithGroups, is_in_memory

from .conftest import CORE, IN_MEMORY
from .ends import Receiver


class Derived(InMemoryChannelLayer):
    """As a project may have one, to log what is sent."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.sent: list[str] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append(group)
        await super().group_send(group, message)


DERIVED = f"{__name__}.Derived"


def built(**holdfast: Any) -> Backplane:
    chosen, problems = conf.read(holdfast)
    assert not problems
    return wiring.build_backplane(chosen)


@pytest.fixture(params=[IN_MEMORY, DERIVED])
def layer(request: pytest.FixtureRequest, settings: Settings) -> Any:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": request.param}}
    return channel_layers["default"]


@pytest.fixture
async def receiver(layer: Any) -> AsyncIterator[Receiver]:
    receiver = await Receiver(built()).start("rooms/lobby", "rooms/captains")
    yield receiver
    await receiver.backplane.stop()


async def test_joined_topics_enter_no_group_of_the_layer(receiver: Receiver, layer: Any) -> None:
    assert not isinstance(receiver.backplane, ChannelsBackplane)
    assert layer.groups == {}
    assert layer.channels == {}


async def test_a_group_send_in_the_same_process_reaches_the_topic(receiver: Receiver, layer: Any) -> None:
    await layer.group_send("holdfast.rooms.captains", {"type": "hello"})
    await receiver.until(lambda: receiver.foreign)
    assert receiver.foreign == [("rooms/captains", {"type": "hello"})]


async def test_a_group_send_from_a_sync_view_reaches_the_topic(receiver: Receiver, layer: Any) -> None:
    await asyncio.to_thread(async_to_sync(layer.group_send), "holdfast.rooms.lobby", {"type": "hello"})
    await receiver.until(lambda: receiver.foreign)


async def test_a_group_send_from_a_loop_of_another_thread_reaches_the_topic(
    receiver: Receiver, layer: Any
) -> None:
    def elsewhere() -> None:
        asyncio.run(layer.group_send("holdfast.rooms.lobby", {"type": "hello"}))

    await asyncio.to_thread(elsewhere)
    await receiver.until(lambda: receiver.foreign)


async def test_what_the_sender_changes_afterwards_does_not_reach_the_topic(
    receiver: Receiver, layer: Any
) -> None:
    message = {"type": "hello", "to": ["all"]}
    await layer.group_send("holdfast.rooms.lobby", message)
    message["to"] = []
    await receiver.until(lambda: receiver.foreign)
    assert receiver.foreign == [("rooms/lobby", {"type": "hello", "to": ["all"]})]


async def test_consumers_in_the_group_of_a_topic_get_the_message_as_well(
    receiver: Receiver, layer: Any
) -> None:
    consumer = await layer.new_channel()
    await layer.group_add("holdfast.rooms.lobby", consumer)
    await layer.group_send("holdfast.rooms.lobby", {"type": "hello"})
    assert await layer.receive(consumer) == {"type": "hello"}
    await receiver.until(lambda: receiver.foreign)
    assert getattr(layer, "sent", ["holdfast.rooms.lobby"]) == ["holdfast.rooms.lobby"]


async def test_a_message_for_a_topic_that_was_left_goes_nowhere(receiver: Receiver, layer: Any) -> None:
    await receiver.backplane.unsubscribe("rooms/lobby")
    await layer.group_send("holdfast.rooms.lobby", {"type": "hello"})
    await layer.group_send("holdfast.rooms.captains", {"type": "last"})
    await receiver.until(lambda: receiver.foreign)
    assert receiver.foreign == [("rooms/captains", {"type": "last"})]


async def test_a_message_that_the_layer_refuses_reaches_no_topic(receiver: Receiver, layer: Any) -> None:
    with pytest.raises(AssertionError):
        await layer.group_send("holdfast.rooms.lobby", "not a dict")
    await layer.group_send("holdfast.rooms.lobby", {"type": "last"})
    await receiver.until(lambda: receiver.foreign)
    assert receiver.foreign == [("rooms/lobby", {"type": "last"})]


async def test_whatever_happens_to_the_receiver_the_layer_can_be_used(layer: Any) -> None:
    receiver = await Receiver(built()).start("rooms/lobby")
    await receiver.backplane.stop()
    await layer.group_send("holdfast.rooms.lobby", {"type": "late"})

    async def leave_without_a_word() -> None:
        await Receiver(receiver.backplane).start("rooms/lobby")

    await asyncio.to_thread(asyncio.run, leave_without_a_word())
    await layer.group_send("holdfast.rooms.lobby", {"type": "later"})
    again = await receiver.start("rooms/lobby")
    await layer.group_send("holdfast.rooms.lobby", {"type": "now"})
    await again.until(lambda: again.foreign)
    assert again.foreign == [("rooms/lobby", {"type": "now"})]
    await again.backplane.stop()


@pytest.mark.parametrize(
    ("backend", "found"),
    [(IN_MEMORY, True), (DERIVED, True), (CORE, False), ("nowhere.Layer", False), ("", False)],
)
def test_the_in_memory_layer_is_recognized_by_its_class(backend: str, found: bool) -> None:
    assert is_in_memory({"BACKEND": backend}) is found


def test_settings_that_name_the_layer_get_it(layer: Any) -> None:
    assert isinstance(built(BACKPLANE="channels"), ChannelsBackplane)
    assert not isinstance(built(BACKPLANE="memory"), WithGroups)

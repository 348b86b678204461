"""Every backplane, as two processes would see it: two objects that share nothing but what is behind them."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from pytest_django import Settings

from holdfast.backplane.base import Backplane
from holdfast.backplane.channels import ChannelsBackplane
from holdfast.backplane.layers import WithGroups
from holdfast.backplane.local import LocalBackplane
from holdfast.backplane.memory import MemoryExchange
from holdfast.backplane.redis import RedisBackplane
from holdfast.redis.client import RedisStore

from .ends import Receiver

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"

REDIS_LAYERS = [pytest.param(CORE, id="core"), pytest.param(PUBSUB, id="pubsub")]


def configure(settings: Settings, backend: str, url: str | None, **options: Any) -> dict[str, Any]:
    """Set CHANNEL_LAYERS to two layers, `one` and `two`, that reach each other; return the options of each."""
    config = dict(options)
    if url is not None:
        config |= {"hosts": [url], "prefix": f"test-{uuid.uuid4().hex[:8]}"}
    settings.CHANNEL_LAYERS = {name: {"BACKEND": backend, "CONFIG": config} for name in ("one", "two")}
    if backend == IN_MEMORY:  # its objects cannot reach each other
        channel_layers.set("two", channel_layers["one"])
    return config


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket. Those of pytest are too long."""
    with tempfile.TemporaryDirectory(prefix="hf-") as path:
        yield Path(path)


@pytest.fixture(
    params=["memory", "groups", "local", "in-memory-layer", "core", "pubsub", "redis", "redis-cluster"]
)
def make(request: pytest.FixtureRequest, settings: Settings) -> Callable[[], Backplane]:
    """Make one end; each call as if in another process."""
    if request.param == "memory":
        return MemoryExchange().backplane
    if request.param == "local":
        path = request.getfixturevalue("short_path") / "local"
        return lambda: LocalBackplane(path)
    if request.param == "groups":
        exchange, layer = MemoryExchange(), InMemoryChannelLayer()
        return lambda: WithGroups(exchange.backplane(), layer)
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda: RedisBackplane(RedisStore(url))
    if request.param == "redis-cluster":
        url = request.getfixturevalue("redis_cluster").url
        return lambda: RedisBackplane(RedisStore(url))
    backend = {"in-memory-layer": IN_MEMORY, "core": CORE, "pubsub": PUBSUB}[request.param]
    configure(settings, backend, None if backend == IN_MEMORY else request.getfixturevalue("redis_url"))
    aliases = iter(["one", "two", "one", "two"])
    return lambda: ChannelsBackplane(next(aliases))


@pytest.fixture
async def ends(make: Callable[[], Backplane]) -> AsyncIterator[tuple[Backplane, Receiver]]:
    """A sender (started, subscribed to nothing) and a receiver of `rooms/lobby`."""
    sender, receiver = Receiver(make()), Receiver(make())
    await sender.start()
    await receiver.start("rooms/lobby")
    yield sender.backplane, receiver
    await sender.backplane.stop()
    await receiver.backplane.stop()

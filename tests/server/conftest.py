"""What the server's tests share."""

from collections.abc import AsyncIterator

import pytest

from . import wire


@pytest.fixture
async def peers_end() -> AsyncIterator[None]:
    """Every application on a wire in memory ends with its test."""
    wire.peers.clear()
    yield
    for peer in wire.peers:
        for task in peer.state.tasks:
            task.cancel()
        peer.wire.lose(None)
    await wire.settle()
    wire.peers.clear()

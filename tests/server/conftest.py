"""Fixtures of the server's tests."""

from collections.abc import AsyncIterator

import pytest

from . import wire


@pytest.fixture
async def peers_end() -> AsyncIterator[None]:
    """End every application on a wire in memory with its test."""
    wire.peers.clear()
    yield
    for peer in wire.peers:
        for task in peer.state.tasks:
            task.cancel()
        peer.wire.lose(None)
    await wire.settle()
    wire.peers.clear()

"""Two ends of a backplane: a sender, and a receiver that a test can wait for."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.backplane.base import Backplane

WAIT = 30.0
"""Longest time in seconds that a test waits for something that must happen."""


@dataclass
class Receiver:
    """Stands in for a hub: remembers all messages, and lets a test wait for them."""

    backplane: Backplane
    news: list[tuple[str, bytes]] = field(default_factory=list)
    foreign: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    interruptions: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, *topics: str) -> "Receiver":
        await self.backplane.start(self._receive, self._receive_group, self._interrupted)
        for topic in topics:
            await self.backplane.subscribe(topic)
        return self

    async def until(self, condition: Callable[[], object], *, seconds: float = WAIT) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def has(self, *news: tuple[str, bytes]) -> None:
        """Wait for as much as `news`, and compare."""
        try:
            await self.until(lambda: len(self.news) >= len(news))
        except TimeoutError:
            pass
        assert self.news == list(news)

    async def has_from_senders(self, *senders: Sequence[tuple[str, bytes]]) -> None:
        """Wait for all messages, each sender's in its order. Between senders there is no order: each has its own connection."""
        with contextlib.suppress(TimeoutError):
            await self.until(lambda: len(self.news) >= sum(map(len, senders)))
        for sent in senders:
            assert [message for message in self.news if message in sent] == list(sent)
        assert len(self.news) == sum(map(len, senders))

    def of(self, topic: str) -> list[bytes]:
        return [message for name, message in self.news if name == topic]

    def _receive(self, topic: str, message: bytes) -> None:
        self.news.append((topic, message))
        self._changed.set()

    def _receive_group(self, topic: str, message: dict[str, Any]) -> None:
        self.foreign.append((topic, message))
        self._changed.set()

    def _interrupted(self) -> None:
        self.interruptions += 1
        self._changed.set()

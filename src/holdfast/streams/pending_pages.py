"""Subscriptions that wait for a page of the log, and the task that reads each page for all of them."""

import asyncio
import logging
from typing import Protocol

from holdfast.log.base import Diverged, LogError, Trimmed
from holdfast.protocol.positions import Position

from . import replay
from .prepared import Prepared
from .replay import Needs
from .stream import Stream, Subscription

logger = logging.getLogger("holdfast.hub")

RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses between attempts to read a page. After the last one each subscription that waits is looked at again."""


class Follower(Protocol):
    """The part of a :class:`~holdfast.streams.log_follower.LogFollower` that pending pages call."""

    async def read(self, stream: Stream, after: int, stamp: int) -> list[Prepared]: ...

    async def examine(self, stream: Stream, *, doubting: Position | None = None) -> None: ...

    def advance(self, subscription: Subscription) -> None: ...

    def go_on(self, subscription: Subscription, needs: Needs) -> None: ...


class PendingPage:
    """A page that is being read, and the subscriptions that wait for it."""

    __slots__ = ("after", "asked", "stamp", "stream", "subscriptions", "task")

    def __init__(self, stream: Stream, after: int, stamp: int) -> None:
        self.stream = stream
        self.after = after
        self.stamp = stamp
        self.asked = stream.mark
        self.subscriptions: dict[Subscription, None] = {}
        self.task: asyncio.Task[None] | None = None

    @property
    def position(self) -> Position:
        return Position(epoch=self.asked.position.epoch, offset=self.after, stamp=self.stamp)

    def outlived(self) -> bool:
        """Has the stream begun again since?"""
        return self.stream.generation != self.asked.generation


Key = tuple[str, int, int, int]


class PendingPages:
    """The pages for which subscriptions of one hub wait. Subscriptions that stand at the same entry wait for one page."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._pages: dict[Key, PendingPage] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The tasks that wait for a page, or serve one."""
        return tuple(self._serving)

    def wait(self, subscription: Subscription) -> None:
        """Read the page after the subscription's offset, and let the subscription go on with it."""
        stream, after, stamp = subscription.stream, subscription.offset, subscription.stamp
        key = (stream.name, stream.generation, after, stamp)
        pending = self._pages.get(key)
        if pending is None:
            pending = self._pages[key] = PendingPage(stream, after, stamp)
            task = pending.task = asyncio.get_running_loop().create_task(self._serve(pending, key))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        pending.subscriptions[subscription] = None

    def leave(self, subscription: Subscription) -> None:
        """Stop reading for a subscription that ends, unless others wait for the same page."""
        if subscription.live:
            return
        stream = subscription.stream
        key = (stream.name, stream.generation, subscription.offset, subscription.stamp)
        pending = self._pages.get(key)
        if pending is None or subscription not in pending.subscriptions:
            return
        del pending.subscriptions[subscription]
        if not pending.subscriptions and pending.task is not None:
            del self._pages[key]
            pending.task.cancel()

    async def _serve(self, pending: PendingPage, key: Key) -> None:
        """Read a page, with retries, and let the subscriptions that wait for it go on."""
        try:
            page = await self._read_patiently(pending)
        finally:
            if self._pages.get(key) is pending:
                del self._pages[key]
        for subscription in pending.subscriptions:
            stands_there = not pending.outlived() and subscription.offset == pending.after
            if page and stands_there and not (subscription.live or subscription.ended):
                self._follower.go_on(subscription, replay.write_page(subscription, page))
            else:
                self._follower.advance(subscription)

    async def _read_patiently(self, pending: PendingPage) -> list[Prepared]:
        """The page; empty if the subscriptions that wait for it have to be looked at again."""
        stream = pending.stream
        for pause in RETRY_SECONDS:
            if all(subscription.ended for subscription in pending.subscriptions):
                return []
            try:
                page = await self._follower.read(stream, pending.after, pending.stamp)
                if page or pending.outlived():
                    return page
                # The log does not hold what was emitted: is it another one?
                await self._follower.examine(stream)
                if pending.outlived():
                    return []
            except Diverged:
                if not await self._retry_after_divergence(pending):
                    return []
            except Trimmed:
                if not pending.outlived():
                    self._reset(pending)
                return []
            except LogError as error:
                logger.warning(
                    "topic %r could not be read after offset %d; trying again in %g seconds: %s",
                    stream.name,
                    pending.after,
                    pause,
                    error,
                )
            except Exception:
                logger.exception(
                    "topic %r could not be read after offset %d; trying again in %g seconds",
                    stream.name,
                    pending.after,
                    pause,
                )
            await asyncio.sleep(pause)
        return []

    async def _retry_after_divergence(self, pending: PendingPage) -> bool:
        """Examine a log that has other entries than those that the subscriptions got. Return whether to read again."""
        try:
            await self._follower.examine(pending.stream, doubting=pending.position)
        except LogError as error:
            report_failed_comparison(pending.stream, error)
            return True
        if not pending.outlived():
            self._reset(pending)
        return False

    def _reset(self, pending: PendingPage) -> None:
        """Reset the subscriptions whose page was trimmed, and let them go on from where the stream is."""
        stream = pending.stream
        for subscription in pending.subscriptions:
            if not (subscription.ended or subscription.live) and subscription.offset == pending.after:
                subscription.offset, subscription.stamp = stream.offset, stream.stamp
                subscription.subscriber.write_reset(stream.reset("trimmed"))


def report_failed_comparison(stream: Stream, error: LogError) -> None:
    """Log that the log did not answer a comparison."""
    logger.warning(
        "topic %r could not be compared with the log; the next comparison tries again: %s", stream.name, error
    )

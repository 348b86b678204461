"""Issuing of control commands, and handing them to the code of this process that carries them out.

Commands are kept in the log, and reach the other processes as any durable event does: at once through the backplane, and by
the next comparison with the log if the backplane has lost them. A command that is issued in a transaction takes effect if
that commits. A command that the log does not take, and that has no caller who could retry, is kept until the log takes it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from django.db import DatabaseError, connections

from holdfast.hub.hub import Hub
from holdfast.hub.publisher import Publisher
from holdfast.log.base import Draft, Log, LogError
from holdfast.log.transactions import apart, when_committed, will_roll_back
from holdfast.process.loops import call_on
from holdfast.protocol.frames import ResetFrame
from holdfast.streams.pending_pages import RETRY_SECONDS
from holdfast.streams.prepared import Burst
from holdfast.threads.waiting_thread import in_waiting_thread

from .commands import TOPIC, ControlCommand, Recheck, decode, draft_of
from .retry_queue import RetryQueue

logger = logging.getLogger("holdfast.control")

KEPT_SECONDS = 86400.0
"""How long commands stay in the log, and in the retry queue. A process that was away for longer checks all its connections
again."""

ATTEMPTS = 2
"""How often a command without a waiting caller is issued before it goes into the retry queue. The first failure may have been
a connection that the database had closed."""

FOLLOWING_MAY_TAKE = 5.0
"""Seconds that a hub's start waits for the log."""

REMEMBERED = 10_000
"""Commands that were carried out where they were issued, and are ignored when they come back from the log."""


class CommandHandler(Protocol):
    """The code that carries commands out. It runs on the hub's event loop."""

    def start(self, hub: Hub) -> None:
        """Begin: commands for the connections of this hub may come from now on."""

    def carry_out(self, commands: Sequence[ControlCommand]) -> None:
        """Carry commands out on this process's connections, before this returns as far as that is possible."""

    def start_over(self) -> None:
        """Check all connections again: unknown commands may have been missed."""

    def stop(self) -> None:
        """End: the hub stops."""


class Control:
    """Issues commands, and hands them to this process's handlers. :meth:`issue` may be called from any thread."""

    def __init__(self, log: Log, publisher: Publisher) -> None:
        self._log = log
        self._publisher = publisher
        self._handlers: tuple[CommandHandler, ...] = ()
        self._hub: Hub | None = None
        self._following: asyncio.Task[None] | None = None
        self._done: dict[str, None] = {}
        self.retry_queue = RetryQueue(self._write_alone, seconds=KEPT_SECONDS)
        """Commands that the log has not taken yet."""

    # ── issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def issue(self, *commands: ControlCommand) -> None:
        """Let every process carry the commands out; inside a transaction if and when it commits.

        This process does so in the next turn of its event loop, or right now if this is called on the loop. Raises
        :class:`LogError`. Only for commands of a transaction that has committed no caller is left: they are kept as
        :meth:`issue_with_retry` does.
        """
        if not self._log.in_transaction():
            self._issue_now(*commands)
        elif self._log.staged_may_be_lost:
            when_committed(partial(self._with_retry, self._issue_now, commands), self._log.alias)
        else:
            self._publisher.publish([draft_of(command) for command in commands], durable=True)
            when_committed(partial(self.carry_out_here, commands), self._log.alias)

    def issue_with_retry(self, *commands: ControlCommand) -> None:
        """As :meth:`issue`, for commands that have no caller who could retry. Never raises, and leaves an open transaction as
        it was.

        If the log does not take the commands, the processes that the backplane reaches carry them out now, and all others
        when the log takes them; until then this process keeps them. Commands of a transaction that can only roll back are
        dropped.
        """
        self._with_retry(self.issue, commands)

    async def aissue(self, *commands: ControlCommand) -> None:
        """As :meth:`issue`, on the event loop. On return this process has carried the commands out, unless a thread waits for
        this code in ``async_to_sync`` and has a transaction open. Then they are part of that transaction."""
        if await in_waiting_thread(partial(self._issue_if_in_transaction, commands), _never):
            return
        await self._publisher.apublish([draft_of(command) for command in commands], durable=True)
        self.carry_out_here(commands)

    def _issue_if_in_transaction(self, commands: Sequence[ControlCommand]) -> bool:
        if inside := self._log.in_transaction():
            self.issue(*commands)
        return inside

    def _issue_now(self, *commands: ControlCommand) -> None:
        self._publisher.write([draft_of(command) for command in commands])
        self.carry_out_here(commands)

    def _with_retry(self, issue: Callable[..., None], commands: Sequence[ControlCommand]) -> None:
        alias = self._log.alias
        for _ in range(ATTEMPTS):
            if will_roll_back(alias):
                return
            try:
                with apart(alias):
                    issue(*commands)
            except Exception as error:
                unknown = None if isinstance(error, LogError | DatabaseError) else error
                logger.error(
                    "%s is not in the log: %s", ", ".join(map(repr, commands)), error, exc_info=unknown
                )
            else:
                return
        when_committed(partial(self._retry_later, commands), alias)

    def _retry_later(self, commands: Sequence[ControlCommand]) -> None:
        drafts = [draft_of(command) for command in commands]
        self.retry_queue.keep(drafts)
        self._publisher.publish(drafts, durable=False)
        self.carry_out_here(commands)

    def _write_alone(self, drafts: Sequence[Draft]) -> None:
        """Write entries of the retry queue, in its thread, whose database connections are closed here."""
        try:
            self._publisher.write(drafts)
        finally:
            connections.close_all()

    def carry_out_here(self, commands: Sequence[ControlCommand]) -> None:
        """Carry commands out on this process's own connections, whatever becomes of them elsewhere."""
        if (hub := self._hub) is not None:
            call_on(hub.loop, self._hand_on, commands)  # a closed loop has no connections

    # ── carrying out ─────────────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, handler: CommandHandler) -> None:
        """Let ``handler`` carry out commands from now on. Call it before the hub starts."""
        self._handlers = (*self._handlers, handler)

    async def follow(self, hub: Hub) -> None:
        """Follow the commands of all processes from now on. Waits at most :data:`FOLLOWING_MAY_TAKE` seconds for a log that
        does not answer; once it does, all connections are checked again."""
        self._hub = hub
        for handler in self._handlers:
            handler.start(hub)
        self._following = hub.loop.create_task(self._listen(hub))
        await asyncio.wait([self._following], timeout=FOLLOWING_MAY_TAKE)

    async def _listen(self, hub: Hub) -> None:
        begun, tries = hub.loop.time(), 0
        while True:
            pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
            try:
                join = await hub.begin_join(TOPIC, durable=True)
                join.subscribe(_CommandSubscriber(self))
                break
            except LogError as error:
                logger.warning("evictions and logouts elsewhere are not heard of yet: %s", error)
            except Exception:
                logger.exception("evictions and logouts elsewhere are not heard of yet")
            await asyncio.sleep(pause)
            tries += 1
        if tries or hub.loop.time() - begun >= FOLLOWING_MAY_TAKE:
            self.start_over()

    async def stop(self) -> None:
        """Carry out nothing more: the hub stops."""
        following, self._following, self._hub = self._following, None, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        for handler in self._handlers:
            handler.stop()

    def forget_hub(self) -> None:
        """Forget a hub whose event loop has ended without stopping it."""
        self._hub = self._following = None

    def received(self, burst: Burst) -> None:
        """Handle commands that come from the log, or from a process that could not reach it."""
        commands: list[ControlCommand] = []
        for event in burst.events:
            try:
                commands.append(decode(event.payload))
            except msgspec.MsgspecError as error:
                # A newer version's. All that can be done without knowing it is to check all connections.
                logger.warning(
                    "received a control command that this version does not know; checking all connections again: %s",
                    error,
                )
                commands.append(Recheck())
        self._hand_on(commands)

    def start_over(self) -> None:
        for handler in self._handlers:
            handler.start_over()

    def _hand_on(self, commands: Sequence[ControlCommand]) -> None:
        new = [command for command in commands if command.id not in self._done]
        for command in new:
            self._done[command.id] = None
        while len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
        if not new:
            return
        for handler in self._handlers:
            try:
                handler.carry_out(new)
            except Exception:
                logger.exception("control commands could not be carried out; checking all connections again")
                handler.start_over()


class _CommandSubscriber:
    """The subscriber to the commands' topic: always ready, and without a client."""

    client = ""
    ready = True
    blocked = False

    def __init__(self, control: Control) -> None:
        self.write = control.received
        self._start_over = control.start_over

    def write_reset(self, reset: ResetFrame) -> None:
        logger.warning(
            "control commands may have been missed (%s); checking all connections again", reset.payload.reason
        )
        self._start_over()

    def fail(self) -> None:
        """Never called: :meth:`write` does not raise."""

    def overflow(self) -> None:
        """Never called: nothing waits for a subscriber that is ready."""


async def _never() -> bool:
    """No thread waits, so there is no transaction to be part of."""
    return False

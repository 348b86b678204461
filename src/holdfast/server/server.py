"""A Uvicorn server that drains: it hands its connections off to other servers before it shuts down as Uvicorn does."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from holdfast import runtime

from .draining import TICK_SECONDS, Drain
from .http import HttpProtocol

logger = logging.getLogger("uvicorn.error")

PATIENCE_SECONDS = 10.0
"""Seconds that a connection with running calls may stay at most, even if no others are left."""

LINGER_SECONDS = 1.0
"""Seconds that a connection without a request is kept at least: its request may be on the way."""

HURRY_SECONDS = 2.0
"""Seconds that the shutdown may take after a second signal."""

GOODBYE_SECONDS = 0.5
"""Seconds of these in which clients may answer the goodbye, so that it is not destroyed on its way."""

WORN_TICKS = 100
"""Turns of Uvicorn's main loop, which takes ten a second, between two reports that the limit of requests is reached. A
replacement may fail, and then the next report asks for another one."""

APPLICATION_SECONDS = 20.0
"""Seconds that the application may take to end: running calls (ten seconds), lease, backplane, threads."""

Ended = Callable[[], object]


def _exit() -> None:
    """End the process, whatever its threads are doing."""
    logging.shutdown()
    os._exit(1)


class Server(uvicorn.Server):
    """Uvicorn's server with a shutdown of its own.

    After SIGTERM or :meth:`stop` it accepts no new connections, hands off the existing ones over ``drain_seconds``, finishes
    running requests and calls, and ends, all within :attr:`seconds_at_most`. After a second signal or :meth:`hurry` it closes
    everything at once, and the process ends within two seconds.

    ``ready`` is called when it serves, ``stopping`` when it begins to drain. With ``supervised`` it obeys only SIGTERM, and
    only once. A terminal sends Ctrl-C to the whole process group, and systemd may signal all processes of a service; the
    supervisor calls for more haste with :meth:`hurry`. After ``worn_after`` requests it calls ``worn``, and goes on serving.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_seconds: float,
        ready: Callable[[], object] | None = None,
        stopping: Callable[[], object] | None = None,
        supervised: bool = False,
        worn_after: int | None = None,
        worn: Callable[[], object] | None = None,
        last_resort: Callable[[], None] = _exit,
    ) -> None:
        super().__init__(config)
        self.drain_seconds = drain_seconds
        self.hurried = False
        self._ready = ready
        self._stopping = stopping
        self._supervised = supervised
        self._worn_after = worn_after
        self._worn = worn
        self._last_resort = last_resort

    @property
    def seconds_at_most(self) -> float:
        """Seconds after a first signal within which the process has ended."""
        requests = self.config.timeout_graceful_shutdown or 0
        return max(self.drain_seconds, PATIENCE_SECONDS) + requests + APPLICATION_SECONDS

    # ── signals ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """Drain, then end."""
        self.should_exit = True

    def hurry(self) -> None:
        """End now."""
        if not self.hurried:
            self.hurried = self.should_exit = self.force_exit = True
            self._end_within(HURRY_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals as Uvicorn does, but do not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[str, Any] = dict.fromkeys(
            ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"), self.handle_exit
        )
        if self._supervised:
            handlers |= {"SIGINT": signal.SIG_IGN, "SIGHUP": signal.SIG_IGN}
        before = {
            number: signal.signal(number, handler)
            for name, handler in handlers.items()
            if (number := getattr(signal, name, None)) is not None
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and not self._supervised:
            self.hurry()
        else:
            self.stop()

    def _end_within(self, seconds: float) -> None:
        """End the process after ``seconds`` even if a thread cannot be ended."""
        timer = threading.Timer(seconds, self._last_resort)
        timer.daemon = True
        timer.start()

    # ── startup and shutdown ──────────────────────────────────────────────────────────────────────────────────────────

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        for sock in sockets or []:
            sock.set_inheritable(False)  # a program that the application starts may outlive this process
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % WORN_TICKS == 0 and self._worn is not None and not self.should_exit:
            most = self._worn_after
            if most is not None and self.server_state.total_requests >= most:
                self._worn()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        runtime.leave()
        if self._stopping is not None:
            self._stopping()
        self._end_within(self.seconds_at_most)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        await self._hand_off()
        ending = asyncio.create_task(super().shutdown(sockets))
        while not ending.done() and not self.hurried:
            await asyncio.wait([ending], timeout=TICK_SECONDS)
        if not self.hurried:
            return await ending
        logger.warning("Shutdown hurried by a second signal: closing what still runs.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HURRY_SECONDS / 2):
                await ending  # it may have passed the point at which it checks force_exit
                await self.lifespan.shutdown()
        return None

    async def _hand_off(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._close_after_requests()
        drain = Drain(self._drainable, seconds=self.drain_seconds, patience=PATIENCE_SECONDS, now=began)
        if drain.count:
            logger.info(
                "Draining: handing off %d connections, %.0f per second.", drain.count, drain.per_second
            )
        finished: float | None = None
        while not self.hurried:
            now = loop.time()
            await self._renew_headers()
            if not drain.tick(now):
                finished = None
            elif finished is None:
                finished = now
            if finished is not None and not self._unfinished(now - began, now - finished):
                return
            await asyncio.sleep(TICK_SECONDS)
        hurried = loop.time()
        drain.hurry(hurried)
        while self.server_state.connections and loop.time() - hurried < GOODBYE_SECONDS:  # noqa: ASYNC110 - see Uvicorn
            await asyncio.sleep(TICK_SECONDS / 4)

    def _close_after_requests(self) -> None:
        for connection in tuple(self.server_state.connections):
            if isinstance(connection, HttpProtocol) and not connection.idle:
                connection.shutdown()  # once its response is sent

    async def _renew_headers(self) -> None:
        """Keep the default headers current, as Uvicorn's main loop did until it ended.

        ``Connection: close`` tells clients that still send a request that it is the last one.
        """
        await self.on_tick(0)
        self.server_state.default_headers.append((b"connection", b"close"))

    def _drainable(self) -> Iterator[Any]:
        return (
            connection for connection in self.server_state.connections if hasattr(connection, "drainable")
        )

    def _unfinished(self, since_beginning: float, since_finished: float) -> bool:
        """Return whether a connection must not be cut yet.

        That is one that had no request so far, one in its opening handshake, or one whose client has not answered the goodbye.
        """
        for connection in self.server_state.connections:
            if isinstance(connection, HttpProtocol):
                if connection.idle and since_beginning < LINGER_SECONDS:
                    return True
            elif getattr(connection, "undecided", False):
                if since_beginning < PATIENCE_SECONDS:
                    return True
            elif since_finished < LINGER_SECONDS:
                return True
        return False

"""Environment of the live clients of one test: a runtime built from the project's settings.

It is the runtime of a server process, with these differences. Work for threads runs where the test's database connection
is. The hub reaches no other process. A silent connection is not closed, because a test in a debugger is silent. The rate of
messages is not limited; the rates of actions and topics are. Every call asks ``may_join``, so that the speed of a test does
not matter.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeVar

import msgspec

from holdfast import runtime as runtimes
from holdfast import wiring
from holdfast.backplane.base import Backplane
from holdfast.backplane.memory import MemoryBackplane
from holdfast.conf import settings
from holdfast.connections.boundary import BoundaryPolicy
from holdfast.connections.manager import Policy
from holdfast.hub.hub import Timing
from holdfast.limits.base import Limiter, Rate
from holdfast.log.base import Log
from holdfast.process.limited_log import unlimited
from holdfast.runtime import Runtime
from holdfast.threads.handler_context import Around
from holdfast.threads.threads import Inline, Threads
from holdfast.threads.waiting_thread import calling_afterwards

from .on_commit import OnCommitRunner, any_in_test_transaction, held_back, number_staged_events

T = TypeVar("T")

NEVER = 86400.0
"""Seconds; longer than a test."""

CALLS_MAY_TAKE = 1.0
"""Seconds that running calls get at the end of a test."""


class Unlimited(Limiter):
    """Limiter without limits."""

    def take(self, key: Any, rate: Rate, now: float) -> float:
        return 0.0


class LogCapture(logging.Handler):
    """Collects what the server logs during a test. It becomes part of the errors that the clients raise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Guest(Protocol):
    """A client, as the environment sees it."""

    def disconnect(self) -> None:
        """Drop the connection, if there is one."""


class Environment:
    """Base of ``AsyncLive`` and ``Live``. While it is open its runtime is that of the process, so that events published
    anywhere in the process reach its clients."""

    current: ClassVar["Environment | None"] = None

    def __init__(
        self,
        threads: Threads,
        commits: OnCommitRunner,
        log: Log | None,
        backplane: Backplane | None,
        rates: bool,
    ) -> None:
        chosen = settings()
        self.log = log or wiring.build_log(chosen)
        self._runtime = Runtime(
            log=self.log,
            backplane=backplane or MemoryBackplane(),
            threads=threads,
            log_threads=threads if self.log.blocking else Inline(),
            timing=Timing(compare=NEVER, linger=NEVER, rates=rates),
            group_events=wiring.group_event if chosen.group_events else None,
            event_bytes=chosen.event_bytes,
        )
        self.service = wiring.build_service(
            self._runtime,
            chosen,
            limiter=None if rates else Unlimited(),
            policy=_lenient(wiring.policy_of(chosen)),
        )
        self.log_capture = LogCapture()
        self._commits = commits
        self._clients: set[Guest] = set()
        self._started = False
        self._implicit = False
        self._stack = contextlib.ExitStack()

    # ── lifecycle ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Make this the environment of the process. Uses no database."""
        if Environment.current is not None:
            raise RuntimeError(
                "a live environment is open already, and a test can have only one: close the other one first, or leave "
                "this one out, because clients use the open one"
            )
        Environment.current = self
        self._stack.callback(setattr, Environment, "current", None)
        self._stack.enter_context(runtimes.using(self._runtime))
        self._stack.enter_context(unlimited())
        self._stack.enter_context(calling_afterwards(self._commits.run))
        logger = logging.getLogger("holdfast")
        logger.addHandler(self.log_capture)
        self._stack.callback(logger.removeHandler, self.log_capture)

    @classmethod
    def shared(cls) -> Self:
        """Return the environment of this test, or a new one that ends with its last client."""
        current = Environment.current
        if current is None:
            made = cls()  # type: ignore[call-arg]
            made._implicit = True
            made.open()
            return made
        if not isinstance(current, cls):
            raise RuntimeError(  # noqa: TRY004 - it is no argument
                f"the live environment that is open is a {type(current).__name__}, which goes with "
                f"{'async def' if cls.__name__ == 'Live' else 'def'} tests; use clients of one kind in a test"
            )
        return current

    async def start(self, client: Guest) -> None:
        """Add a client. The first one starts the hub."""
        self._clients.add(client)
        if not self._started:
            await self._check_thread()
            self._started = True
            await self._runtime.threads.run(number_staged_events, self.log)
        await self.settle()
        await self._runtime.hub()

    def release(self, client: Guest) -> bool:
        """Remove a client; return whether it was the last one of an environment that a client has made."""
        if client not in self._clients:
            return False
        self._clients.remove(client)
        return self._implicit and not self._clients

    def _holds(self, client: Guest) -> bool:
        """Has the client connected here, and is it neither closed nor disconnected by the end of the environment?"""
        return client in self._clients

    async def stop(self) -> None:
        """Disconnect the clients, wait for running calls, and stop the runtime."""
        for client in tuple(self._clients):
            client.disconnect()
        self._clients.clear()
        if self._started:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALLS_MAY_TAKE):
                    await self.service.calls.finish()
            self._runtime.control.retry_queue.forget()  # else it would be written during another test
            await self._runtime.stop()

    def close(self) -> None:
        """Restore the runtime that the process had before."""
        self._stack.close()

    async def settle(self) -> None:
        """Run the ``on_commit`` callbacks that the transaction of the ``TestCase`` holds back."""
        await self._runtime.threads.run(self._commits.run)

    async def held_back(self) -> bool:
        """Does any callback wait for the end of an ``atomic()`` that the test has open?"""
        return await self._runtime.threads.run(held_back)

    async def _check_thread(self) -> None:
        """Raise ``RuntimeError`` if the test has a transaction that handlers cannot see."""
        if _without_loop(any_in_test_transaction) and not await self._runtime.threads.run(
            any_in_test_transaction
        ):
            raise RuntimeError(
                "this test runs inside a transaction of its own thread, and async tests use the database in another "
                "thread, which does not see that transaction. With pytest, mark the test with "
                "@pytest.mark.django_db(transaction=True) (or use the fixture transactional_db); or put it into a class "
                "of Django's TestCase, where async def tests use one thread for both."
            )


def around_handlers() -> Around | None:
    """Return the context manager that the project's settings put around handlers."""
    return wiring.handler_context(settings())


def _without_loop(function: Callable[[], T]) -> T:
    """Call a function that does not wait as if no event loop ran: inside a loop Django shows other connections than to
    the thread around it."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function()
    finally:
        asyncio._set_running_loop(loop)


def _lenient(policy: Policy) -> Policy:
    limits = msgspec.structs.replace(
        policy.limits,
        messages_per_second=1e9,
        burst=1e9,
        bytes_per_second=1e12,
        byte_burst=1e12,
        joins_per_second=1e9,
        join_burst=1e9,
        hello_seconds=NEVER,
        heartbeat=NEVER,
    )
    return msgspec.structs.replace(
        policy,
        limits=limits,
        boundary=BoundaryPolicy(failed_tokens=None),
        recheck_seconds=0.0,
        stall_seconds=NEVER,
        reauthorize_seconds=0.0,
        fresh_seconds=0.0,
    )

"""What the live clients of one test share: a runtime of their own, made of the project's settings.

It is what a server process has, with these differences: work for threads runs where the test's database connection is;
the hub reaches no other process; nobody is closed for being silent (a test in a debugger is); messages are not counted,
only the rates of actions and topics are; and ``may_join`` is asked at every call, so that it does not matter how fast a test is.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeVar

import msgspec

from holdfast import wiring
from holdfast.backplane.base import Backplane
from holdfast.backplane.memory import MemoryBackplane
from holdfast.conf import settings
from holdfast.connections.service import Policy
from holdfast.hub import runtime as runtimes
from holdfast.hub.hub import Timing
from holdfast.hub.runtime import Runtime
from holdfast.hub.surroundings import Around
from holdfast.hub.threads import Inline, Threads
from holdfast.hub.waiting import calling_afterwards
from holdfast.limits.base import Limiter, Rate
from holdfast.log.base import Log

from .on_commit import OnCommitRunner, any_in_test_transaction, held_back, number_what_waits

T = TypeVar("T")

NEVER = 86400.0
"""Seconds; longer than a test."""

CALLS_MAY_TAKE = 1.0
"""Seconds that calls which nobody waits for any more get at the end of a test."""


class Unlimited(Limiter):
    """Lets everything pass."""

    def take(self, key: Any, rate: Rate, now: float) -> float:
        return 0.0


class Complaints(logging.Handler):
    """What the server logged during a test: it goes into the errors of the requests that it answered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Guest(Protocol):
    """What an environment knows of a client."""

    def disconnect(self) -> None:
        """Break the connection, if there is one."""


class Environment:
    """What ``AsyncLive`` and ``Live`` have in common. While it is open it is this process's runtime, so that what is
    published anywhere reaches its clients."""

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
        )
        self.service = wiring.build_service(
            self._runtime,
            chosen,
            limiter=None if rates else Unlimited(),
            policy=_lenient(wiring.policy_of(chosen)),
        )
        self.complaints = Complaints()
        self._commits = commits
        self._clients: set[Guest] = set()
        self._started = False
        self._implicit = False
        self._stack = contextlib.ExitStack()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Make this the process's runtime. Touches no database."""
        if Environment.current is not None:
            raise RuntimeError(
                "a live environment is open already, and a test has one: close the other one first, or leave this one "
                "out, as clients find the open one by themselves"
            )
        Environment.current = self
        self._stack.callback(setattr, Environment, "current", None)
        self._stack.enter_context(runtimes.using(self._runtime))
        self._stack.enter_context(calling_afterwards(self._commits.run))
        logger = logging.getLogger("holdfast")
        logger.addHandler(self.complaints)
        self._stack.callback(logger.removeHandler, self.complaints)

    @classmethod
    def shared(cls) -> Self:
        """The environment of this test, or a new one that ends with its last client."""
        current = Environment.current
        if current is None:
            made = cls()  # type: ignore[call-arg]
            made._implicit = True
            made.open()
            return made
        if not isinstance(current, cls):
            raise RuntimeError(  # noqa: TRY004 - nobody passed it
                f"the live environment that is open is a {type(current).__name__}, which goes with "
                f"{'async def' if cls.__name__ == 'Live' else 'def'} tests; use clients of one kind in a test"
            )
        return current

    async def start(self, client: Guest) -> None:
        """Take a client in. The first one brings things to life."""
        self._clients.add(client)
        if not self._started:
            await self._check_thread()
            self._started = True
            await self._runtime.threads.run(number_what_waits, self.log)
        await self.settle()
        await self._runtime.hub()

    def release(self, client: Guest) -> bool:
        """Let a client go; say whether that was the last one of an environment that was made for its clients."""
        self._clients.discard(client)
        return self._implicit and not self._clients

    async def stop(self) -> None:
        """Disconnect the clients and stop everything, with patience for calls that run."""
        for client in tuple(self._clients):
            client.disconnect()
        if self._started:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALLS_MAY_TAKE):
                    await self.service.calls.finish()
            self._runtime.control.postponed.forget()  # it would be written during another test
            await self._runtime.stop()

    def close(self) -> None:
        """Give the process's runtime back."""
        self._stack.close()

    async def settle(self) -> None:
        """Run what would have run by now if the transaction of the ``TestCase`` were not there."""
        await self._runtime.threads.run(self._commits.run)

    async def look(self, work: Callable[[], T]) -> T:
        """Do blocking work where the test's database connection is."""
        return await self._runtime.threads.run(work)

    async def held_back(self) -> bool:
        """Does anything wait for the end of an ``atomic()`` that the test has open?"""
        return await self._runtime.threads.run(held_back)

    async def _check_thread(self) -> None:
        """A test's transaction that handlers cannot see is a trap, so say it."""
        if _without_loop(any_in_test_transaction) and not await self._runtime.threads.run(
            any_in_test_transaction
        ):
            raise RuntimeError(
                "this test runs inside a transaction of its own thread, and async tests use the database in another "
                "one, where nothing of it can be seen. With pytest, mark the test with "
                "@pytest.mark.django_db(transaction=True) (or use the fixture transactional_db); or put it into a class "
                "of Django's TestCase, where async def tests have one thread for both."
            )


def around_handlers() -> Around | None:
    """What the project's settings put around handlers."""
    return wiring.handler_context(settings())


def _without_loop(function: Callable[[], T]) -> T:
    """Call a function that does not wait as the code around the event loop would. Inside of a loop Django shows other
    connections than to the thread that runs it."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function()
    finally:
        asyncio._set_running_loop(loop)


def _lenient(policy: Policy) -> Policy:
    limits = msgspec.structs.replace(policy.limits, messages_per_second=1e9, burst=1e9, heartbeat=NEVER)
    return msgspec.structs.replace(
        policy,
        limits=limits,
        recheck_seconds=0.0,
        stall_seconds=NEVER,
        reauthorize_seconds=0.0,
        fresh_seconds=0.0,
    )

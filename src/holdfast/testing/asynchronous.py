"""``AsyncLive`` and ``AsyncLiveClient``, for ``async def`` tests."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from django.db import connections

from holdfast.backplane.base import Backplane
from holdfast.log.base import Log

from .client_methods import ClientMethods
from .environment import Environment, around_handlers
from .on_commit import OnCommitRunner, any_in_test_transaction
from .same_thread import SensitiveThreads


class AsyncLive(Environment):
    """The environment that the live clients of one ``async def`` test share::

        async with AsyncLive() as live:
            ada = await live.connect(user)

    ``log`` and ``backplane`` replace those of the settings (``MemoryLog()`` needs no database, unless your own code does).
    Without ``backplane`` there is no other process. ``rates=False`` lifts the ``rate=`` of actions and topics.

    Inside the block all code of this process publishes through the environment. At its end the clients are disconnected.
    """

    def __init__(
        self, *, log: Log | None = None, backplane: Backplane | None = None, rates: bool = True
    ) -> None:
        commits = OnCommitRunner()
        threads = SensitiveThreads(commits.run, around_handlers())
        super().__init__(threads, commits, log, backplane, rates)

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
            await self._runtime.threads.run(_close_connections)
        finally:
            self.close()

    async def connect(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> "AsyncLiveClient":
        """Return a new connected client. The arguments are those of :class:`AsyncLiveClient`."""
        client = AsyncLiveClient(user, token=token, browser=browser, host=host, versions=versions, live=self)
        return await client.open()


class AsyncLiveClient(ClientMethods):
    """A live client for ``async def`` tests, in Django's test cases and with pytest-asyncio.

    It connects as ``user``, or anonymously with ``None``. With ``token`` instead, ``HOLDFAST["TOKEN_AUTHENTICATOR"]`` finds the user.
    ``browser`` is a test client of Django's: the live client then connects with that client's session, reads it again at
    each ``resume()``, and is disconnected when the session ends. ``host`` is the host that it connects to, for
    ``HOLDFAST["HANDLER_CONTEXT"]``. It knows the newest version of each event; ``versions={"message.posted": 1}`` makes it a client that
    knows these, and the first version of all others. Use it in ``async with``, or call :meth:`open` and :meth:`close`.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        versions: Mapping[str, int] | None = None,
        live: AsyncLive | None = None,
    ) -> None:
        super().__init__(user, token=token, browser=browser, host=host, versions=versions)
        self._live = live

    async def open(self) -> Self:
        """Connect. Raises :class:`~holdfast.testing.Disconnected` when the server refuses the client."""
        if self._live is None:
            self._live = AsyncLive.shared()
        self._place = self._live
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Disconnect for good. Does nothing if the client is closed already, or its environment has ended."""
        if self._end() and self._live is not None:
            await self._live.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _close_connections() -> None:
    """Close the database connections of a thread, unless they hold the transaction of a test."""
    if threading.current_thread() is not threading.main_thread() and not any_in_test_transaction():
        connections.close_all()

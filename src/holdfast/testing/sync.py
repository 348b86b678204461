"""``Live`` and ``LiveClient``, for ``def`` tests. The test's own thread runs their event loop."""

from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.backplane.base import Backplane
from holdfast.log.base import Log

from .client_methods import ClientMethods
from .environment import Environment, around_handlers
from .on_commit import OnCommitRunner
from .same_thread import LoopThreads, SameThreadLoop
from .sync_methods import SyncMethods

T = TypeVar("T")


class Live(Environment):
    """The environment that the live clients of one ``def`` test share::

        with Live() as live:
            ada = live.connect(user)

    In a ``TestCase``: ``self.live = self.enterContext(Live())`` in ``setUp``.

    ``log`` and ``backplane`` replace those of the settings (``MemoryLog()`` needs no database, unless your own code does).
    Without ``backplane`` there is no other process. ``rates=False`` lifts the ``rate=`` of actions and topics.

    Inside the block all code of this process publishes through the environment. At its end the clients are disconnected.
    The event loop runs only inside the methods of the clients, never beside the test's own code.
    """

    def __init__(
        self, *, log: Log | None = None, backplane: Backplane | None = None, rates: bool = True
    ) -> None:
        commits = OnCommitRunner()
        self._loop = SameThreadLoop(commits.run)
        try:
            super().__init__(LoopThreads(self._loop, around_handlers()), commits, log, backplane, rates)
        except BaseException:
            self._loop.close()
            raise

    def open(self) -> None:
        try:
            super().open()
        except BaseException:
            self._loop.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the event loop of the clients; return its result. For what the clients have no method for."""
        return self._loop.run(coroutine)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.run(self.stop())
        finally:
            self.close()
            self._loop.close()

    def connect(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> "LiveClient":
        """Return a new connected client. The arguments are those of :class:`LiveClient`."""
        client = LiveClient(user, token=token, browser=browser, host=host, versions=versions, live=self)
        return client.open()


class LiveClient(SyncMethods):
    """A live client for ``def`` tests, in Django's test cases and in pytest.

    It connects as ``user``, or anonymously with ``None``. With ``token`` instead, ``HOLDFAST["TOKEN_AUTHENTICATOR"]`` finds the user.
    ``browser`` is a test client of Django's: the live client then connects with that client's session, reads it again at
    each ``resume()``, and is disconnected when the session ends. ``host`` is the host that it connects to, for
    ``HOLDFAST["HANDLER_CONTEXT"]``. It knows the newest version of each event; ``versions={"message.posted": 1}`` makes it a client that
    knows these, and the first version of all others. Use it in ``with``, or call :meth:`open` and :meth:`close`.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        versions: Mapping[str, int] | None = None,
        live: Live | None = None,
    ) -> None:
        self._client = ClientMethods(user, token=token, browser=browser, host=host, versions=versions)
        self._live = live

    # ── connecting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Self:
        """Connect. Raises :class:`~holdfast.testing.Disconnected` when the server refuses the client."""
        if self._live is None:
            self._live = Live.shared()
        self._client._place = self._live
        try:
            self._run(self._client._connect())
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Disconnect for good. Does nothing if the client is closed already, or its environment has ended."""
        live = self._live
        if live is not None and live._holds(self._client) and live.run(self._ended()):
            live.__exit__(None, None, None)

    async def _ended(self) -> bool:
        return self._client._end()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._live is None:
            coroutine.close()
            raise RuntimeError(f"{self._client} has not been opened: use it in a with block, or open() it")
        return self._live.run(coroutine)

    def __repr__(self) -> str:
        return f"<LiveClient {self._client} {'connected' if self.connected else 'not connected'}>"

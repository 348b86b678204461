"""The face for ``def`` tests: the same client, its event loop run by the test's own thread."""

from collections.abc import Coroutine
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
    """What the live clients of one ``def`` test share::

        with Live() as live:
            ada = live.connect(user)

    In a ``TestCase``: ``self.live = self.enterContext(Live())`` in ``setUp``.

    ``log`` and ``backplane`` take the place of those of the settings (``MemoryLog()`` needs no database, unless your own
    code does); without ``backplane`` there is no other process. ``rates=False`` lifts the ``rate=`` of actions and topics.

    For the length of the block everything in this process publishes through it. At the end its clients are disconnected.
    Nothing of it runs while the test's own code does: its event loop turns in the methods of its clients.
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
        """Run ``coroutine`` on the event loop of the clients, for what they have no method for."""
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
    ) -> "LiveClient":
        """A new client, connected. The arguments are those of :class:`LiveClient`."""
        return LiveClient(user, token=token, browser=browser, host=host, live=self).open()


class LiveClient(SyncMethods):
    """A live client for ``def`` tests, in Django's test cases and in pytest.

    ``user`` is whom it connects as, ``None`` for an anonymous one; ``token`` goes through ``HOLDFAST["TOKEN_USER"]``
    instead. ``browser`` is one of Django's test clients: then it connects with that one's session, at each ``resume()`` anew,
    and the session's end is its own. ``host`` is the one that it connects to, for
    ``HOLDFAST["HANDLER_CONTEXT"]``. Use it in ``with``, or :meth:`open` and :meth:`close` it.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        token: str | None = None,
        browser: Any = None,
        host: str | None = None,
        live: Live | None = None,
    ) -> None:
        self._client = ClientMethods(user, token=token, browser=browser, host=host)
        self._live = live

    # ── connecting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Self:
        """Connect. Raises :class:`~holdfast.testing.Disconnected` when the server does not let the client in."""
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
        """Disconnect for good."""
        if self._live is not None and self._live.run(self._ended()):
            self._live.__exit__(None, None, None)

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

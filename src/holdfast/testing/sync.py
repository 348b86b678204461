"""The face for ``def`` tests: the same client, its event loop run by the test's own thread."""

from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from holdfast.backplane.base import Backplane
from holdfast.log.base import Log
from holdfast.protocol.positions import Position
from holdfast.topics.event import Event
from holdfast.topics.presence import Member
from holdfast.topics.topic import Topic

from .client import EVENT_WITHIN, NOTHING_WITHIN, Client
from .environment import Environment, around_handlers
from .on_commit import Commits
from .peer import ANSWER_WITHIN
from .same_thread import Pump, PumpThreads
from .values import Joined, Received, Reset

E = TypeVar("E", bound=Event)
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
        commits = Commits()
        self._pump = Pump(commits.run)
        try:
            super().__init__(PumpThreads(self._pump, around_handlers()), commits, log, backplane, rates)
        except BaseException:
            self._pump.close()
            raise

    def open(self) -> None:
        try:
            super().open()
        except BaseException:
            self._pump.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the event loop of the clients, for what they have no method for."""
        return self._pump.run(coroutine)

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
            self._pump.close()

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


class LiveClient:
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
        self._client = Client(user, token=token, browser=browser, host=host)
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

    def drop(self) -> None:
        """Lose the connection, as in a tunnel: the server notices, nothing is said. Positions and unread events stay."""
        self._run(self._client.drop())

    def resume(self) -> dict[str, Joined]:
        """Come back as the same client and join everything that was joined, each topic from its position.

        Return the answers by topic. Raises :class:`~holdfast.testing.JoinError` for a topic that does not admit the user
        any more; what comes after it is not joined then.
        """
        return self._run(self._client.resume())

    # ── what there is to look at ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """The client's id, which it keeps across connections: what ``exclude=`` goes by."""
        return self._client.id

    @property
    def unread(self) -> tuple[Received, ...]:
        """The events that have come and were not expected yet, in the order in which they came."""
        return self._client.unread

    @property
    def received(self) -> tuple[Received, ...]:
        """Every event that has ever come, in the order in which they came; doubles too."""
        return self._client.received

    @property
    def connected(self) -> bool:
        """Is there a connection?"""
        return self._client.connected

    def position(self, topic: Topic | str) -> Position | None:
        """Up to where this client has seen a durable topic, whether the test expected it or not: what it resumes from."""
        return self._client.position(topic)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def join(
        self, topic: Topic | str, *, since: Position | None = None, within: float = ANSWER_WITHIN
    ) -> Joined:
        """Subscribe to a topic, from ``since`` if that is given, else from now.

        Raises :class:`~holdfast.testing.JoinError` when it is refused, with the code ``"forbidden"`` where there is no
        such topic or its ``may_join`` says no.
        """
        return self._run(self._client.join(topic, since=since, within=within))

    def leave(self, topic: Topic | str) -> None:
        """End a subscription. Raises :class:`~holdfast.testing.LiveError` (``not_joined``) if there is none."""
        self._run(self._client.leave(topic))

    def call(
        self,
        topic: Topic | str,
        action: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        key: str | None = None,
        within: float = ANSWER_WITHIN,
        **more: Any,
    ) -> Any:
        """Call an action of a joined topic and return its result, as JSON reads it.

        Arguments are given by name, or in a dict where a name is ``key`` or ``within``. Every call has a key of its own,
        as in a browser; with ``key`` an earlier call can be repeated, and gets its first answer. Raises
        :class:`~holdfast.testing.CallError`.
        """
        return self._run(self._client.call(topic, action, arguments, key=key, within=within, **more))

    # ── expecting ────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def expect(
        self,
        event: type[E],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> E: ...

    @overload
    def expect(
        self,
        event: str,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> Any: ...

    def expect(
        self,
        event: Any,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> Any:
        """Take the next event of this name (or class), on ``topic`` or on any, and return it as an instance of its class.

        It may have come already, or comes within ``within`` seconds. It must have the given values in the given fields;
        a field named ``topic`` or ``within`` is given in the dict. Events of other names stay for later expectations.
        Raises ``AssertionError``, which says what came instead, when the *next* event of this name is another one, or
        none comes.
        """
        return self._run(self._client.expect(event, fields, topic=topic, within=within, **more))

    def expect_nothing(
        self,
        event: str | type[Event] | None = None,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = NOTHING_WITHIN,
        **more: Any,
    ) -> None:
        """Fail, with ``AssertionError``, if there is an unread event or one comes within ``within`` seconds.

        With a name (or class) and values only such an event counts, with ``topic`` only one of that topic.
        """
        self._run(self._client.expect_nothing(event, fields, topic=topic, within=within, **more))

    def expect_members(self, topic: Topic | str, *who: Any, within: float = EVENT_WITHIN) -> list[Member]:
        """Wait until exactly these are in a joined topic, as this client is told; return them. Each is a user, a live
        client, or a member's id."""
        return self._run(self._client.expect_members(topic, *who, within=within))

    def members(self, topic: Topic | str) -> list[Member]:
        """Who is in a joined topic, as far as this client was told."""
        return self._client.members(topic)

    def member_count(self, topic: Topic | str) -> int | None:
        """How many are in a joined topic, as far as this client was told; ``None`` if it was not."""
        return self._client.member_count(topic)

    def expect_reset(
        self, topic: Topic | str, reason: str | None = None, *, within: float = EVENT_WITHIN
    ) -> Reset:
        """Take the next ``reset`` of a topic: its stream could not be continued without a hole. ``reason`` is
        ``"trimmed"``, ``"epoch"`` or ``"interrupted"``."""
        return self._run(self._client.expect_reset(topic, reason, within=within))

    def expect_left(self, topic: Topic | str, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server ends the subscription to a topic; return the code, such as ``"forbidden"``."""
        return self._run(self._client.expect_left(topic, within=within))

    def expect_closed(self, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server closes the connection; return the code, such as ``"disconnected"``."""
        return self._run(self._client.expect_closed(within=within))

    # ── reading slowly ───────────────────────────────────────────────────────────────────────────────────────────────

    def stall(self) -> None:
        """Read nothing from now on: the connection sees a client whose buffers are full."""
        self._run(self._client.stall())

    def read(self) -> int:
        """Read what has waited and go on reading; return how many messages the server had written meanwhile.

        What it held back meanwhile comes afterwards, as the topic has it.
        """
        return self._run(self._client.read())

    def __repr__(self) -> str:
        return f"<LiveClient {self._client} {'connected' if self.connected else 'not connected'}>"

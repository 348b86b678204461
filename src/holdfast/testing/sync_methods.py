"""The methods of ``LiveClient`` that it shares with ``AsyncLiveClient``, without the ``await``.

Generated from client_state.py and client_methods.py by scripts/generate: edit those files, not this one.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar, overload

from holdfast.protocol.positions import Position
from holdfast.topics.event import Event
from holdfast.topics.presence import Member
from holdfast.topics.topic import Topic

from .client_methods import EVENT_WITHIN, NOTHING_WITHIN, ClientMethods
from .client_state import ANSWER_WITHIN
from .values import JoinAnswer, Received, ResetNotice

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class SyncMethods:
    """Runs each method of an asynchronous client to its end."""

    _client: ClientMethods

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

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

    def members(self, topic: Topic | str) -> list[Member]:
        """Who is in a joined topic, as far as this client was told."""
        return self._client.members(topic)

    def member_count(self, topic: Topic | str) -> int | None:
        """How many are in a joined topic, as far as this client was told; ``None`` if it was not."""
        return self._client.member_count(topic)

    def drop(self) -> None:
        """Lose the connection, as in a tunnel: the server notices, nothing is said. Positions and unread events stay."""
        self._run(self._client.drop())

    def resume(self) -> dict[str, JoinAnswer]:
        """Come back as the same client and join everything that was joined, each topic from its position.

        Return the answers by topic. Raises :class:`JoinError` for a topic that does not admit the user any more; what
        comes after it is not joined then.
        """
        return self._run(self._client.resume())

    def join(
        self, topic: Topic | str, *, since: Position | None = None, within: float = ANSWER_WITHIN
    ) -> JoinAnswer:
        """Subscribe to a topic, from ``since`` if that is given, else from now.

        Raises :class:`JoinError` when it is refused, with the code ``"forbidden"`` where there is no such topic or its
        ``may_join`` says no.
        """
        return self._run(self._client.join(topic, since=since, within=within))

    def leave(self, topic: Topic | str) -> None:
        """End a subscription. Raises :class:`LiveError` (``not_joined``) if there is none."""
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
        :class:`CallError`.
        """
        return self._run(self._client.call(topic, action, arguments, key=key, within=within, **more))

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
        event: str | type[Event],
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

    def expect_reset(
        self, topic: Topic | str, reason: str | None = None, *, within: float = EVENT_WITHIN
    ) -> ResetNotice:
        """Take the next ``reset`` of a topic: its stream could not be continued without a hole. ``reason`` is
        ``"trimmed"``, ``"epoch"`` or ``"interrupted"``."""
        return self._run(self._client.expect_reset(topic, reason, within=within))

    def expect_left(self, topic: Topic | str, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server ends the subscription to a topic; return the code, such as ``"forbidden"``."""
        return self._run(self._client.expect_left(topic, within=within))

    def expect_closed(self, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server closes the connection; return the code, such as ``"disconnected"``."""
        return self._run(self._client.expect_closed(within=within))

    def stall(self) -> None:
        """Read nothing from now on: the connection sees a client whose buffers are full."""
        self._run(self._client.stall())

    def read(self) -> int:
        """Read what has waited and go on reading; return how many messages the server had written meanwhile.

        What it held back meanwhile comes afterwards, as the topic has it.
        """
        return self._run(self._client.read())

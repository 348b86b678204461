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
        """The client's public id, as ``caller.client`` has it. ``exclude=`` takes it."""
        return self._client.id

    @property
    def unread(self) -> tuple[Received, ...]:
        """The events that have arrived and were not expected yet, in the order of their arrival."""
        return self._client.unread

    @property
    def received(self) -> tuple[Received, ...]:
        """Every event that has ever arrived, in the order of arrival, duplicates included."""
        return self._client.received

    @property
    def connected(self) -> bool:
        """Is the client connected?"""
        return self._client.connected

    def position(self, topic: Topic | str) -> Position | None:
        """Return the position up to which this client has received a durable topic, from which it would resume.

        Events count whether the test expected them or not.
        """
        return self._client.position(topic)

    def members(self, topic: Topic | str) -> list[Member]:
        """Return the members of a joined topic that this client knows."""
        return self._client.members(topic)

    def member_count(self, topic: Topic | str) -> int | None:
        """Return the number of members of a joined topic; ``None`` if the client does not know it."""
        return self._client.member_count(topic)

    def drop(self) -> None:
        """Lose the connection, as in a tunnel: the server notices, and no close frame is exchanged.

        Positions and unread events stay.
        """
        self._run(self._client.drop())

    def resume(self) -> dict[str, JoinAnswer]:
        """Reconnect as the same client and join all topics that were joined, each from its position.

        Return the answers by topic. Raises :class:`JoinError` for a topic that the user may not join any more; topics after
        it are not joined then. After an error the next ``resume()`` joins the topics again, without the refused one.
        """
        return self._run(self._client.resume())

    def join(
        self, topic: Topic | str, *, since: Position | None = None, within: float = ANSWER_WITHIN
    ) -> JoinAnswer:
        """Subscribe to a topic, from ``since`` if given, else from now.

        Raises :class:`JoinError` when the server refuses the join. The code is ``"forbidden"`` where there is no such topic
        or its ``may_join`` returns false.
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
        """Call an action of a joined topic and return its result, decoded from JSON.

        Give arguments by name, or in a dict where a name is ``key`` or ``within``. Every call has a new key, as in a
        browser. With ``key`` you repeat an earlier call, and receive the result of the first. Raises
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
        """Take the next event of this name (or class), on ``topic`` or on any topic; return it as an instance of its class.

        It may have arrived already, or arrives within ``within`` seconds. It must have the given values in the given fields;
        give a field named ``topic`` or ``within`` in the dict. Events of other names stay for later expectations.
        Raises ``AssertionError``, which says what arrived instead, when the *next* event of this name has other values, or
        none arrives.
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
        """Raise ``AssertionError`` if there is an unread event, or one arrives within ``within`` seconds.

        With a name (or class) and values only such events count, with ``topic`` only those of that topic.
        """
        self._run(self._client.expect_nothing(event, fields, topic=topic, within=within, **more))

    def expect_members(self, topic: Topic | str, *who: Any, within: float = EVENT_WITHIN) -> list[Member]:
        """Wait until the members of a joined topic, as this client knows them, are exactly these; return them.

        Each of ``who`` is a user, a live client, or a member's id.
        """
        return self._run(self._client.expect_members(topic, *who, within=within))

    def expect_reset(
        self, topic: Topic | str, reason: str | None = None, *, within: float = EVENT_WITHIN
    ) -> ResetNotice:
        """Take the next ``reset`` of a topic: the server could not continue its events without a gap.

        ``reason`` is ``"trimmed"``, ``"epoch"`` or ``"interrupted"``.
        """
        return self._run(self._client.expect_reset(topic, reason, within=within))

    def expect_left(self, topic: Topic | str, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server ends the subscription to a topic; return the code, such as ``"forbidden"``."""
        return self._run(self._client.expect_left(topic, within=within))

    def expect_closed(self, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server closes the connection; return the code, such as ``"disconnected"``."""
        return self._run(self._client.expect_closed(within=within))

    def stall(self) -> None:
        """Stop reading. To the connection the client's buffers are full from now on."""
        self._run(self._client.stall())

    def read(self) -> int:
        """Read the waiting messages and go on reading; return how many messages the server had written since ``stall()``.

        Events that the hub held back in that time arrive afterwards, as the topic's ``slow`` says.
        """
        return self._run(self._client.read())

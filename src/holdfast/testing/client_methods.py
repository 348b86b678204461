"""Methods of a live client: join, call, expect, resume."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import msgspec

from holdfast.protocol import frames
from holdfast.protocol.positions import Position
from holdfast.topics.encoding import encode
from holdfast.topics.event import Event
from holdfast.topics.presence import Member
from holdfast.topics.topic import Topic

from .client_state import ANSWER_WITHIN, ClientState, position_of
from .errors import CallError, JoinError, LiveError
from .event_inbox import Mismatch, Wanted, wanted
from .members import member_id
from .values import CloseNotice, JoinAnswer, LeftNotice, Received, ResetNotice

E = TypeVar("E", bound=Event)
N = TypeVar("N", ResetNotice, LeftNotice, CloseNotice)
T = TypeVar("T")

EVENT_WITHIN = 1.0
"""Seconds in which an expected event must arrive."""

NOTHING_WITHIN = 0.05
"""Seconds in which no event may arrive where none is expected. Events published in the test's process need far less."""


class ClientMethods(ClientState):
    """The methods of ``AsyncLiveClient``. ``LiveClient`` has them too, without the ``await``."""

    async def resume(self) -> dict[str, JoinAnswer]:
        """Reconnect as the same client and join all topics that were joined, each from its position.

        Return the answers by topic. Raises :class:`JoinError` for a topic that the user may not join any more; topics after
        it are not joined then. After an error the next ``resume()`` joins the topics again, without the refused one.
        """
        if self.connected:
            raise RuntimeError(f"{self} is connected; call drop() before resume()")
        self.disconnect()
        await self._connect()
        answers = {}
        for name in tuple(self._topics):
            try:
                answers[name] = await self.join(name, since=self._positions.get(name))
            except JoinError:
                self._topics.pop(name, None)
                raise
        return answers

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def join(
        self, topic: Topic | str, *, since: Position | None = None, within: float = ANSWER_WITHIN
    ) -> JoinAnswer:
        """Subscribe to a topic, from ``since`` if given, else from now.

        Raises :class:`JoinError` when the server refuses the join. The code is ``"forbidden"`` where there is no such topic
        or its ``may_join`` returns false.
        """
        name = str(topic)
        what = f"join of {name} by {self}"
        answer = await self._ask(
            lambda ref: frames.JoinFrame(ref=ref, topic=name, payload=frames.JoinPayload(since=since)),
            what,
            within,
            JoinError,
            since=since,
        )
        assert isinstance(answer, frames.JoinedFrame)
        payload = answer.payload
        return JoinAnswer(
            topic=answer.topic,
            position=position_of(payload),
            recovered=payload.recovered,
            snapshot=None if payload.snapshot is msgspec.UNSET else msgspec.json.decode(payload.snapshot),
        )

    async def leave(self, topic: Topic | str) -> None:
        """End a subscription. Raises :class:`LiveError` (``not_joined``) if there is none."""
        name = str(topic)
        await self._ask(
            lambda ref: frames.LeaveFrame(ref=ref, topic=name),
            f"leave of {name} by {self}",
            ANSWER_WITHIN,
            LiveError,
        )

    async def call(
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
        name = str(topic)
        payload = msgspec.Raw(encode({**(arguments or {}), **more}))
        if key is None:
            self._keys += 1
            key = f"{self._id}-{self._keys}"
        answer = await self._ask(
            lambda ref: frames.CallFrame(topic=name, name=action, ref=ref, key=key, payload=payload),
            f"call of {action} on {name} by {self}",
            within,
            CallError,
        )
        assert isinstance(answer, frames.ResultFrame)
        return msgspec.json.decode(answer.payload)

    # ── expecting ────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def expect(
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
    async def expect(
        self,
        event: str,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        topic: Topic | str | None = None,
        within: float = EVENT_WITHIN,
        **more: Any,
    ) -> Any: ...

    async def expect(
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
        expected = self._wanted(event, {**(fields or {}), **more}, topic)
        await self._prepare("expect")
        try:
            found = await self._until(lambda: self._inbox.take(expected), within)
        except Mismatch as mismatch:
            raise AssertionError(await self._story(str(mismatch))) from None
        if found is None:
            raise AssertionError(await self._story(f"no event {expected} arrived within {within:g} s"))
        return found

    async def expect_nothing(
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
        values = {**(fields or {}), **more}
        if event is None and values:
            raise TypeError(f"expect_nothing({', '.join(values)}): name the event that has these fields")
        expected = None if event is None else self._wanted(event, values, topic)
        place = None if topic is None else self._joined(topic).name
        await self._prepare("expect_nothing")

        def look() -> Received | None:
            if expected is not None:
                return self._inbox.find(expected)
            return next((r for r in self._inbox.unread if place in (None, r.topic)), None)

        found = await self._until(look, within)
        if found is not None:
            nothing = "nothing" if expected is None else f"no {expected}"
            raise AssertionError(await self._story(f"expected {nothing}, but there is {found}"))

    async def expect_members(
        self, topic: Topic | str, *who: Any, within: float = EVENT_WITHIN
    ) -> list[Member]:
        """Wait until the members of a joined topic, as this client knows them, are exactly these; return them.

        Each of ``who`` is a user, a live client, or a member's id.
        """
        expected, seen = {member_id(one) for one in who}, self._present[self._joined(topic).name]
        await self._prepare("expect_members")

        def look() -> list[Member] | None:
            members = seen.members
            return list(members.values()) if members is not None and members.keys() == expected else None

        found = await self._until(look, within)
        if found is None:
            wanted = ", ".join(sorted(expected)) or "no members"
            raise AssertionError(
                await self._story(f"expected {wanted} in {topic} within {within:g} s, but {seen}")
            )
        return found

    async def expect_reset(
        self, topic: Topic | str, reason: str | None = None, *, within: float = EVENT_WITHIN
    ) -> ResetNotice:
        """Take the next ``reset`` of a topic: the server could not continue its events without a gap.

        ``reason`` is ``"trimmed"``, ``"epoch"`` or ``"interrupted"``.
        """
        name = self._joined(topic).name
        found = await self._notice(ResetNotice, name, f"reset of {name}", within)
        if reason not in (None, found.reason):
            raise AssertionError(
                await self._story(f"expected a reset for the reason {reason!r}, but there is a {found}")
            )
        return found

    async def expect_left(self, topic: Topic | str, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server ends the subscription to a topic; return the code, such as ``"forbidden"``."""
        name = self._joined(topic).name
        return (await self._notice(LeftNotice, name, f"end of {name}", within)).code

    async def expect_closed(self, *, within: float = EVENT_WITHIN) -> str:
        """Wait until the server closes the connection; return the code, such as ``"disconnected"``."""
        return (await self._notice(CloseNotice, "", "close", within)).code

    async def _notice(self, kind: type[N], topic: str, what: str, within: float) -> N:
        await self._prepare(f"expect the {what}")

        def take() -> N | None:
            for notice in self._notices:
                if isinstance(notice, kind) and getattr(notice, "topic", "") == topic:
                    self._notices.remove(notice)
                    return notice
            return None

        found = await self._until(take, within)
        if found is None:
            raise AssertionError(await self._story(f"no {what} arrived within {within:g} s"))
        return found

    async def _prepare(self, what: str) -> None:
        if self._transport is not None and not self._transport.reading:
            raise RuntimeError(f"{what}: {self} reads nothing since stall(); call read() first")
        await self._environment.settle()

    async def _until(self, look: Callable[[], T | None], within: float) -> T | None:
        """Return what ``look`` finds, as soon as it does; ``None`` after ``within`` seconds or when nothing can arrive."""
        deadline = asyncio.get_running_loop().time() + within
        while (found := look()) is None and self.connected:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                break
        if found is None:
            # Work that other tasks of the test have done while this one waited.
            await self._environment.settle()
            for _ in range(3):
                await asyncio.sleep(0)
            found = look()
        return found

    # ── reading slowly ───────────────────────────────────────────────────────────────────────────────────────────────

    async def stall(self) -> None:
        """Stop reading. To the connection the client's buffers are full from now on."""
        self._transport_or_raise("stall()").stall()

    async def read(self) -> int:
        """Read the waiting messages and go on reading; return how many messages the server had written since ``stall()``.

        Events that the hub held back in that time arrive afterwards, as the topic's ``slow`` says.
        """
        transport = self._transport_or_raise("read()")
        await self._environment.settle()
        for _ in range(3):
            await asyncio.sleep(0)  # deliver what was just published, as far as it goes
        return transport.read()

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, event: Any, fields: Mapping[str, Any], topic: Topic | str | None) -> Wanted:
        topics = self._known.values() if topic is None else [self._joined(topic)]
        return wanted(event, fields, topics, self._versions, who=str(self))

    async def _story(self, failure: str) -> str:
        """Return the message of a failed expectation."""
        lines = [f"{self}: {failure}.", *self._inbox.lines()]
        lines += [f"Also: {notice}." for notice in self._notices]
        if not self.connected and self._closed is None:
            lines.append("Also: the test dropped the connection, and has not resumed it.")
        if await self._environment.held_back():
            lines.append(
                "Also: the test has a transaction.atomic() open; events published in it are delivered after it ends."
            )
        return "\n".join(lines)

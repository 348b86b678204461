"""Re-checks each connection's user and topic permissions.

A revocation starts a re-check at once; all connections are re-checked on a schedule. Many connections are checked together:
users and sessions are read for a whole chunk of connections, a rule is asked once for each pair of a topic and a user, and
rules that are a ``def`` run for many pairs in one visit to a worker thread.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from holdfast.auth.base import Authenticator, Identity
from holdfast.hub.hub import Hub
from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.threads.threads import Threads
from holdfast.topics.failures import Verdict, code_of, report, verdict_of

from .authorization import Pair, may_all_join
from .joined_topic import NOT_TRUSTED, JoinedTopic
from .registry import ConnectionRegistry, RegisteredConnection

logger = logging.getLogger("holdfast.connections")

CHUNK = 200
"""Connections that are checked together."""

AT_ONCE = 4
"""Chunks that may run at the same time, so that a rule that hangs does not delay all others."""

IDENTIFY_SECONDS = 10.0
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts after a revocation. A check that has no answer after the last attempt counts as a no."""

ROUNDS = 3
"""Rounds of the schedule. A check that has no answer in so many rounds in a row counts as a no."""


class Check:
    """A pending re-check of one connection. Its user is checked first (while ``whole`` is true), because rules must see the
    user as they are now. Then come the rules of ``topics``; ``None`` stands for all joined topics. Each topic is kept with
    the code that the client gets if its rule does not answer."""

    __slots__ = ("connection", "settled", "topics", "whole")

    def __init__(
        self,
        connection: RegisteredConnection,
        topics: Iterable[JoinedTopic] | None,
        settled: "asyncio.Future[None] | None" = None,
    ) -> None:
        self.connection = connection
        self.whole = True
        self.topics: dict[JoinedTopic, Code] | None = (
            None if topics is None else dict.fromkeys(topics, codes.INTERNAL)
        )
        self.settled = settled

    def settle(self) -> None:
        """Note that the user has been checked."""
        self.whole = False
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)

    def standing(self) -> list[JoinedTopic]:
        """Return the topics to check that the connection has not left."""
        connection = self.connection
        if self.topics is None:
            return list(connection.joined_topics())
        return [joined for joined in self.topics if connection.still_joined(joined)]


class Reauthorization:
    """Re-checks the connections of one process. For the event loop."""

    def __init__(
        self,
        connections: ConnectionRegistry,
        threads: Threads,
        authenticator: Authenticator,
        *,
        period: float,
    ) -> None:
        self._connections = connections
        self._threads = threads
        self._authenticator = authenticator
        self._period = period
        self._hub: Hub | None = None
        self._due: dict[RegisteredConnection, Check] = {}
        # The newest check about a user, by the connection's id.
        self._open: dict[str, asyncio.Future[None]] = {}
        self._sweeps: set[asyncio.Task[None]] = set()
        self._workers: set[asyncio.Task[None]] = set()

    def start(self, hub: Hub) -> None:
        self._hub = hub
        # Left over from an event loop that ended without calling stop().
        self._due.clear()
        self._open.clear()
        self._sweeps.clear()
        self._workers.clear()
        if self._period:
            self._spawn(self._sweep(hub), self._sweeps)

    def stop(self) -> None:
        self._hub = None
        self._due.clear()
        for settled in tuple(self._open.values()):
            settled.cancel()
        for task in (*self._sweeps, *self._workers):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], kind: "set[asyncio.Task[None]]") -> None:
        assert self._hub is not None
        # The work of the process, not of the client whose action may have started it.
        task = self._hub.loop.create_task(work, context=self._threads.context())
        kind.add(task)
        task.add_done_callback(kind.discard)

    # ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def doubt(self, connection: RegisteredConnection) -> None:
        """Re-check the connection's user, and then all topics that it has joined."""
        self._check(connection).topics = None
        for joined in connection.joined_topics():
            joined.doubt()

    def doubt_user(self, connection: RegisteredConnection) -> None:
        """Re-check the connection's user."""
        self._check(connection)

    def doubt_topic(self, connection: RegisteredConnection, joined: JoinedTopic) -> None:
        """Re-check the connection's user, and then one topic."""
        joined.doubt()
        check = self._check(connection)
        if check.topics is not None:
            check.topics[joined] = codes.INTERNAL

    async def settled(self, id: str) -> None:
        """Return when no check of the user of the connection ``id`` is open. Nothing new may be decided before, because the user
        object may be out of date."""
        while (settled := self._open.get(id)) is not None and not settled.done():
            await asyncio.shield(settled)

    def _check(self, connection: RegisteredConnection) -> Check:
        assert self._hub is not None
        check = self._due.get(connection)
        if check is None:
            if not self._due:
                self._hub.loop.call_soon(self._begin)
            settled = self._open[connection.id] = self._hub.loop.create_future()
            settled.add_done_callback(partial(self._closed, connection.id))
            check = self._due[connection] = Check(connection, (), settled)
        return check

    def _closed(self, id: str, settled: "asyncio.Future[None]") -> None:
        if self._open.get(id) is settled:
            del self._open[id]

    def _begin(self) -> None:
        if self._due and len(self._workers) < AT_ONCE and self._hub is not None:
            self._spawn(self._work(), self._workers)

    async def _work(self) -> None:
        while self._due:
            checks = [self._due.pop(connection) for connection in list(self._due)[:CHUNK]]
            self._begin()  # the connections left over do not wait for these
            try:
                await self._ask_until_answered(checks)
            except Exception:
                logger.exception("%d connections could not be re-checked; this counts as a no", len(checks))
                for check in checks:
                    self._give_up(check)

    async def _ask_until_answered(self, checks: list[Check]) -> None:
        for pause in PAUSES:
            checks = await self.ask(checks)
            if not checks:
                return
            await asyncio.sleep(pause)
        for check in await self.ask(checks):
            self._give_up(check)

    def _give_up(self, check: Check) -> None:
        """Treat a check without an answer as a no. The client may reconnect, which starts a new check."""
        connection = check.connection
        if connection not in self._connections:
            check.settle()
            return
        if check.whole:
            logger.error("%r: its user could not be re-checked; closing the connection", connection)
            connection.hang_up(codes.FAILED)
            check.settle()
        for joined in check.standing():
            self._give_up_topic(check, joined)

    def _give_up_topic(self, check: Check, joined: JoinedTopic) -> None:
        """Evict the client from a topic whose rule did not answer. If the rule's database was unavailable, the client joins
        again by itself."""
        logger.error(
            "%r: the permission for %r could not be re-checked; evicting it", check.connection, joined.topic
        )
        code = (check.topics or {}).get(joined, codes.INTERNAL)
        check.connection.evict(joined.topic.name, code)

    # ── on a schedule ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sweep(self, hub: Hub) -> None:
        """Re-check all connections once in a period, chunk by chunk. A check without an answer is repeated in the next round,
        for :data:`ROUNDS` rounds at most."""
        missed: dict[RegisteredConnection | JoinedTopic, int] = {}
        while True:
            begun = hub.loop.time()
            before, missed = missed, {}
            # Sorted by user, so that one answer serves all connections of a user.
            everyone = sorted(self._connections, key=lambda connection: connection.owner)
            chunks = [everyone[at : at + CHUNK] for at in range(0, len(everyone), CHUNK)]
            for number, chunk in enumerate(chunks):
                await asyncio.sleep(begun + self._period * number / len(chunks) - hub.loop.time())
                try:
                    checks = [self._routine(connection, hub.loop.time()) for connection in chunk]
                    for check in await self.ask(checks):
                        self._miss(check, before, missed)
                except Exception:
                    logger.exception(
                        "%d connections could not be re-checked; the next round checks them again", len(chunk)
                    )
            await asyncio.sleep(max(begun + self._period - hub.loop.time(), 1.0))

    def _miss(
        self,
        check: Check,
        before: dict[RegisteredConnection | JoinedTopic, int],
        missed: dict[RegisteredConnection | JoinedTopic, int],
    ) -> None:
        """Count a round without an answer to a check. Give up after :data:`ROUNDS` in a row."""
        for subject in (check.connection,) if check.whole else tuple(check.standing()):
            rounds = before.get(subject, 0) + 1
            if rounds < ROUNDS:
                missed[subject] = rounds
            elif isinstance(subject, JoinedTopic):
                self._give_up_topic(check, subject)
            else:
                self._give_up(check)

    def _routine(self, connection: RegisteredConnection, now: float) -> Check:
        """Return the scheduled check: the user, and the topics that were not checked in the last half period."""
        stale = [joined for joined in connection.joined_topics() if now - joined.checked >= self._period / 2]
        return Check(connection, stale)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, checks: Iterable[Check]) -> list[Check]:
        """Run checks and apply the answers. Return the checks that got no answer."""
        checks = [check for check in checks if self._is_there(check)]
        unknown = await self._ask_about_users([check for check in checks if check.whole])
        return unknown + await self._ask_rules([check for check in checks if not check.whole])

    def _is_there(self, check: Check) -> bool:
        if check.connection in self._connections:
            return True
        check.settle()
        return False

    async def _ask_about_users(self, checks: Sequence[Check]) -> list[Check]:
        """Revalidate the identities of these connections, except anonymous ones. Return the checks that got no answer."""
        asked = {check: check.connection.identity for check in checks if check.connection.user_id is not None}
        answers = dict(zip(asked, await self._revalidated(list(asked.values())), strict=True))
        unknown = []
        for check in checks:
            connection = check.connection
            if connection.user_id is None:
                check.settle()
                continue
            now = answers.get(check)
            if isinstance(now, Exception):
                logger.warning("%r: its user could not be re-checked; trying again: %r", connection, now)
                unknown.append(check)
                continue
            if connection.identity is not asked.get(check):
                unknown.append(check)  # a token has changed it since it was asked about: ask once more
                continue
            if now is None:
                expired = connection.identity.expired
                connection.hang_up(codes.TOKEN_EXPIRED if expired else codes.UNAUTHENTICATED)
            else:
                connection.renew(now)
            check.settle()
        return unknown

    async def _revalidated(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        """Return what has become of identities. If the authenticator fails on all of them together, and not because a store is
        away, ask about each alone: one identity must not decide about the others."""
        if not identities:
            return []
        try:
            async with asyncio.timeout(IDENTIFY_SECONDS):
                found = await self._authenticator.revalidate(identities)
            if len(found) != len(identities):
                raise TypeError(
                    f"{type(self._authenticator).__qualname__}.revalidate returned {len(found)} answers for "
                    f"{len(identities)} identities; return one for each, in the same order"
                )
        except Exception as error:  # noqa: BLE001 - it is the answer to all of them
            if len(identities) == 1 or verdict_of(error) is Verdict.UNAVAILABLE:
                return [error] * len(identities)
            logger.warning(
                "%d identities could not be re-checked together; asking about each alone: %r",
                len(identities),
                error,
            )
            return [answer for each in identities for answer in await self._revalidated([each])]
        return found

    async def _ask_rules(self, checks: Sequence[Check]) -> list[Check]:
        """Ask each rule once for each user, and once for all anonymous connections."""
        assert self._hub is not None
        asked = self._hub.loop.time()
        pairs: dict[tuple[object, ...], Pair] = {}
        topics: dict[tuple[object, ...], list[tuple[Check, JoinedTopic, int]]] = {}
        for check in checks:
            for joined in check.standing():
                pair = Pair(joined.topic, check.connection.identity)
                key = pair.key
                pairs.setdefault(key, pair)
                topics.setdefault(key, []).append((check, joined, joined.doubts))
        unanswered: dict[Check, dict[JoinedTopic, Code]] = {}
        answers = await may_all_join(self._threads, list(pairs.values()))
        for (key, pair), answer in zip(pairs.items(), answers, strict=True):
            if isinstance(answer, Exception):
                report(logger, f"{pair.topic!r}.may_join failed for {pair.identity.user!r}", answer)
            for check, joined, doubts in topics[key]:
                if isinstance(answer, Exception):
                    unanswered.setdefault(check, {})[joined] = code_of(answer)
                elif check.connection.still_joined(joined):
                    # A revocation since the rule was asked makes a yes worthless.
                    as_of = asked if joined.doubts == doubts else NOT_TRUSTED
                    self._apply(check.connection, joined, answer, as_of)
        for check, left in unanswered.items():
            check.topics = left
        return list(unanswered)

    def _apply(
        self, connection: RegisteredConnection, joined: JoinedTopic, admitted: bool, asked: float
    ) -> None:
        if admitted:
            joined.checked = max(joined.checked, asked)
        else:
            connection.evict(joined.topic.name, codes.FORBIDDEN)

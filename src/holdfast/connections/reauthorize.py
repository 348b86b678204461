"""Asking again: is a connection still the user's whose it was, and may that user be where it is?

At once when something was ordered, and on a schedule for everybody. Many are asked about together: users and sessions are
read for a whole chunk of connections, each pair of a topic and a user is asked about once, and rules that are a ``def``
run for many pairs in one visit to a worker thread.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from holdfast.hub.hub import Hub
from holdfast.hub.surroundings import HandlerInfo
from holdfast.hub.threads import Threads
from holdfast.protocol import codes
from holdfast.protocol.codes import Code

from .authorization import Pair, may_all_join
from .failures import code_of, report
from .joined_topic import NOT_TRUSTED, Place
from .registry import ConnectionRegistry, RegisteredConnection

logger = logging.getLogger("holdfast.connections")

CHUNK = 200
"""Connections that are asked about together."""

AT_ONCE = 4
"""Chunks that may be under way at the same time, so that a rule that hangs does not keep all others waiting."""

IDENTIFY_SECONDS = 10.0
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)
"""In seconds, between attempts after an order. When none is left, what could not be answered counts as a no."""

ROUNDS = 3
"""Rounds of the schedule in a row after which what could not be answered counts as a no."""


class Claim(NamedTuple):
    """Whose a connection says it is: the user as found when it began, and the key of the session that said so, if one
    did."""

    user: Any
    session_key: str | None
    host: str | None = None


Identify = Callable[[Sequence[Claim]], Sequence[Any]]
"""Finds out in a worker thread what has become of claims: for each the user as he is now, ``None`` if the claim does not
hold any more, or the exception that kept from finding out."""


def believe(claims: Sequence[Claim]) -> Sequence[Any]:
    """Where users are not kept anywhere: whoever it was, it still is."""
    return [claim.user for claim in claims]


class Question:
    """What is to be asked about one connection: first about its user (while ``whole``), since rules are asked about the
    user as he is now and not as he was read long ago; then about which places, ``None``: all. With each place stands the code
    that its client gets if there will be no answer."""

    __slots__ = ("connection", "places", "settled", "whole")

    def __init__(
        self,
        connection: RegisteredConnection,
        places: Iterable[Place] | None,
        settled: "asyncio.Future[None] | None" = None,
    ) -> None:
        self.connection = connection
        self.whole = True
        self.places: dict[Place, Code] | None = (
            None if places is None else dict.fromkeys(places, codes.INTERNAL)
        )
        self.settled = settled

    def settle(self) -> None:
        """Whose connection it is has been answered."""
        self.whole = False
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)

    def standing(self) -> list[Place]:
        """The places that there still are to ask about."""
        connection = self.connection
        if self.places is None:
            return list(connection.places())
        return [place for place in self.places if connection.is_at(place)]


class Reauthorization:
    """Asks about the connections of one service. For the event loop."""

    def __init__(
        self,
        connections: ConnectionRegistry,
        threads: Threads,
        identify: Identify,
        *,
        period: float,
    ) -> None:
        self._connections = connections
        self._threads = threads
        self._identify = identify
        self._period = period
        self._hub: Hub | None = None
        self._due: dict[RegisteredConnection, Question] = {}
        self._open: dict[RegisteredConnection, asyncio.Future[None]] = {}  # the newest question about a user
        self._patrols: set[asyncio.Task[None]] = set()
        self._workers: set[asyncio.Task[None]] = set()

    def start(self, hub: Hub) -> None:
        self._hub = hub
        # What an event loop has left that ended without a word.
        self._due.clear()
        self._open.clear()
        self._patrols.clear()
        self._workers.clear()
        if self._period:
            self._spawn(self._patrol(hub), self._patrols)

    def stop(self) -> None:
        self._hub = None
        self._due.clear()
        for settled in tuple(self._open.values()):
            settled.cancel()
        for task in (*self._patrols, *self._workers):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], kind: "set[asyncio.Task[None]]") -> None:
        assert self._hub is not None
        task = self._hub.loop.create_task(work)
        kind.add(task)
        task.add_done_callback(kind.discard)

    # ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def doubt(self, connection: RegisteredConnection) -> None:
        """Ask about the connection's user, and then about every topic that it has joined."""
        self._question(connection).places = None
        for place in connection.places():
            place.doubt()

    def doubt_user(self, connection: RegisteredConnection) -> None:
        """Ask about the connection's user."""
        self._question(connection)

    def doubt_place(self, connection: RegisteredConnection, place: Place) -> None:
        """Ask about the connection's user, and then one topic's rule."""
        place.doubt()
        question = self._question(connection)
        if question.places is not None:
            question.places[place] = codes.INTERNAL

    async def settled(self, connection: RegisteredConnection) -> None:
        """Return when no question about the connection's user is open: until then nothing new is decided on the strength
        of what he was before."""
        while (settled := self._open.get(connection)) is not None and not settled.done():
            await asyncio.shield(settled)

    def _question(self, connection: RegisteredConnection) -> Question:
        assert self._hub is not None
        question = self._due.get(connection)
        if question is None:
            if not self._due:
                self._hub.loop.call_soon(self._begin)
            settled = self._open[connection] = self._hub.loop.create_future()
            settled.add_done_callback(partial(self._closed, connection))
            question = self._due[connection] = Question(connection, (), settled)
        return question

    def _closed(self, connection: RegisteredConnection, settled: "asyncio.Future[None]") -> None:
        if self._open.get(connection) is settled:
            del self._open[connection]

    def _begin(self) -> None:
        if self._due and len(self._workers) < AT_ONCE and self._hub is not None:
            self._spawn(self._work(), self._workers)

    async def _work(self) -> None:
        while self._due:
            questions = [self._due.pop(connection) for connection in list(self._due)[:CHUNK]]
            self._begin()  # who is left over does not wait for these
            try:
                await self._ask_until_answered(questions)
            except Exception:
                logger.exception("some connections could not be asked about")
                for question in questions:
                    self._give_up(question)

    async def _ask_until_answered(self, questions: list[Question]) -> None:
        for pause in PAUSES:
            questions = await self.ask(questions)
            if not questions:
                return
            await asyncio.sleep(pause)
        for question in await self.ask(questions):
            self._give_up(question)

    def _give_up(self, question: Question) -> None:
        """There is no answer. The client may come back and be answered anew; here it is out."""
        connection = question.connection
        if connection not in self._connections:
            question.settle()
            return
        if question.whole:
            logger.error("%r: there is no answer whether it may stay; it may not", connection)
            connection.hang_up(codes.FAILED)
            question.settle()
        for place in question.standing():
            self._give_up_place(question, place)

    def _give_up_place(self, question: Question, place: Place) -> None:
        """The rule did not answer: the client is out, and comes back if it was the rule's database that did not."""
        logger.error(
            "%r: there is no answer whether it may stay in %r; it may not", question.connection, place.topic
        )
        code = (question.places or {}).get(place, codes.INTERNAL)
        question.connection.evict(place.topic.name, code)

    # ── on a schedule ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _patrol(self, hub: Hub) -> None:
        """Ask about everybody once in a period, a chunk at a time. What cannot be answered now is asked the next time, in
        :data:`ROUNDS` rounds at most."""
        missed: dict[RegisteredConnection | Place, int] = {}
        while True:
            begun = hub.loop.time()
            before, missed = missed, {}
            # One user's connections stand together, so that one answer serves them all.
            everybody = sorted(self._connections, key=lambda connection: connection.owner)
            chunks = [everybody[at : at + CHUNK] for at in range(0, len(everybody), CHUNK)]
            for number, chunk in enumerate(chunks):
                await asyncio.sleep(begun + self._period * number / len(chunks) - hub.loop.time())
                try:
                    questions = [self._routine(connection, hub.loop.time()) for connection in chunk]
                    for question in await self.ask(questions):
                        self._miss(question, before, missed)
                except Exception:
                    logger.exception("some connections could not be asked about; they will be, the next time")
            await asyncio.sleep(max(begun + self._period - hub.loop.time(), 1.0))

    def _miss(
        self,
        question: Question,
        before: dict[RegisteredConnection | Place, int],
        missed: dict[RegisteredConnection | Place, int],
    ) -> None:
        """A round did not answer a question: count that, and give up after the last of :data:`ROUNDS` in a row."""
        for subject in (question.connection,) if question.whole else tuple(question.standing()):
            rounds = before.get(subject, 0) + 1
            if rounds < ROUNDS:
                missed[subject] = rounds
            elif isinstance(subject, Place):
                self._give_up_place(question, subject)
            else:
                self._give_up(question)

    def _routine(self, connection: RegisteredConnection, now: float) -> Question:
        """The scheduled question: about the user, and about what was not asked about lately anyway."""
        stale = [place for place in connection.places() if now - place.checked >= self._period / 2]
        return Question(connection, stale)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, questions: Iterable[Question]) -> list[Question]:
        """Ask, and act upon the answers. Return what could not be answered."""
        questions = [question for question in questions if self._is_there(question)]
        unknown = await self._ask_about_users([question for question in questions if question.whole])
        return unknown + await self._ask_rules([question for question in questions if not question.whole])

    def _is_there(self, question: Question) -> bool:
        if question.connection in self._connections:
            return True
        question.settle()
        return False

    async def _ask_about_users(self, questions: Sequence[Question]) -> list[Question]:
        """Nobody in particular stays nobody in particular; each pair of a user and a session is asked about once."""
        claims: dict[tuple[str, str | None, str | None], Claim] = {}
        asked = [question.connection.user for question in questions]
        for question in questions:
            connection = question.connection
            if connection.user_id is not None:
                claim = Claim(connection.user, connection.session_key, connection.host)
                claims[connection.user_id, connection.session_key, connection.host] = claim
        found = dict(zip(claims, await self._identified(list(claims.values())), strict=True))
        unknown = []
        for question, before in zip(questions, asked, strict=True):
            connection = question.connection
            if connection.user_id is None:
                question.settle()
                continue
            key = connection.user_id, connection.session_key, connection.host
            if key not in found or isinstance(
                found[key], Exception
            ):  # not in: a token has been taken meanwhile
                logger.warning("%r: could not find out whose it is now: %r", connection, found.get(key))
                unknown.append(question)
                continue
            if found[key] is None:
                connection.hang_up(codes.UNAUTHENTICATED)
            elif connection.user is not before:
                unknown.append(question)  # he has been read meanwhile, before or after this answer: once more
                continue
            else:
                connection.renew(found[key])
            question.settle()
        return unknown

    async def _identified(self, claims: Sequence[Claim]) -> Sequence[Any]:
        if not claims:
            return []
        try:
            async with asyncio.timeout(IDENTIFY_SECONDS):
                return await self._identified_by_host(claims)
        except Exception as error:  # noqa: BLE001 - it is the answer, for all of them
            return [error] * len(claims)

    async def _identified_by_host(self, claims: Sequence[Claim]) -> Sequence[Any]:
        """Ask about those together who have come to one host: another one's users may be others, in another place."""
        found: dict[int, Any] = {}
        for host in dict.fromkeys(claim.host for claim in claims):
            some = [claim for claim in claims if claim.host == host]
            answers = await self._threads.handle(HandlerInfo(host=host), self._identify, some)
            found.update(zip(map(id, some), answers, strict=True))
        return [found[id(claim)] for claim in claims]

    async def _ask_rules(self, questions: Sequence[Question]) -> list[Question]:
        """Ask each rule once about each user, and once about all who are anonymous."""
        assert self._hub is not None
        asked = self._hub.loop.time()
        pairs: dict[tuple[str, str | None, str | None], Pair] = {}
        places: dict[tuple[str, str | None, str | None], list[tuple[Question, Place, int]]] = {}
        for question in questions:
            connection = question.connection
            for place in question.standing():
                key = place.topic.name, connection.user_id, connection.host
                pairs.setdefault(key, Pair(place.topic, connection.user, connection.host))
                places.setdefault(key, []).append((question, place, place.doubts))
        unanswered: dict[Question, dict[Place, Code]] = {}
        answers = await may_all_join(self._threads, list(pairs.values()))
        for (key, pair), answer in zip(pairs.items(), answers, strict=True):
            if isinstance(answer, Exception):
                report(logger, f"{pair.topic!r}.may_join failed for {pair.user!r}", answer)
            for question, place, doubts in places[key]:
                if isinstance(answer, Exception):
                    unanswered.setdefault(question, {})[place] = code_of(answer)
                elif question.connection.is_at(place):
                    # What was ordered since it was asked makes a yes worth nothing.
                    as_of = asked if place.doubts == doubts else NOT_TRUSTED
                    self._judge(question.connection, place, answer, as_of)
        for question, left in unanswered.items():
            question.places = left
        return list(unanswered)

    def _judge(self, connection: RegisteredConnection, place: Place, admitted: bool, asked: float) -> None:
        if admitted:
            place.checked = max(place.checked, asked)
        else:
            connection.evict(place.topic.name, codes.FORBIDDEN)

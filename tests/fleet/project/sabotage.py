"""Promises broken on purpose, to see that the checker says so. FLEET_SABOTAGE names one; unset, nothing is touched.

Each is a change that a developer could make to Holdfast by mistake.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

WANTED = os.environ.get("FLEET_SABOTAGE", "")

Break = Callable[[], None]


def skip_gaps() -> None:
    """Entries beyond a gap are passed on at once, and the gap is forgotten."""
    from holdfast.streams.log_follower import LogFollower

    on_entries = LogFollower.on_entries

    def careless(self: Any, stream: Any, batch: Any) -> None:
        if batch.epoch == stream.epoch and batch.entries[0].offset > stream.offset + 1:
            stream.offset, stream.stamp = batch.entries[0].offset - 1, batch.before
        on_entries(self, stream, batch)

    LogFollower.on_entries = careless  # type: ignore[method-assign]


def deliver_twice() -> None:
    """Now and then an event goes out twice."""
    from holdfast.streams.stream import Stream

    emit = Stream.emit
    said = [0]

    def twice(self: Any, events: Sequence[Any]) -> None:
        emit(self, events)
        said[0] += 1
        if said[0] % 20 == 0:
            emit(self, events)

    Stream.emit = twice  # type: ignore[method-assign]


def no_sweep() -> None:
    """No process numbers the events of dead ones, and every process dies between its commit and the numbering."""
    from holdfast.log.database import DatabaseLog

    DatabaseLog.sweep = lambda self: []  # type: ignore[method-assign]
    DatabaseLog.sequence = lambda self, topics: []  # type: ignore[method-assign]


def no_comparison() -> None:
    """A wake-up that was lost stays lost."""
    from holdfast.streams.log_follower import LogFollower

    LogFollower.match = lambda self, stream, head, asked: None  # type: ignore[method-assign]


def tell_before_commit() -> None:
    """Ephemeral events go out before their transaction commits."""
    from holdfast.hub.publisher import Publisher

    Publisher._when_committed = lambda self, drafts: self._broadcast_ephemeral(drafts)  # type: ignore[method-assign]


def forget_keys() -> None:
    """A call that is sent again is carried out again."""
    from django.db import connections

    from holdfast.log.database_calls import DatabaseCalls
    from holdfast.log.tables import CALL

    claim = DatabaseCalls.claim

    def forgetful(self: DatabaseCalls, owner: str, key: str, target: str, *, seconds: float) -> Any:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f'DELETE FROM {CALL} WHERE owner = %s AND "key" = %s', (owner, key))
        return claim(self, owner, key, target, seconds=seconds)

    DatabaseCalls.claim = forgetful  # type: ignore[method-assign]


def skip_the_slow() -> None:
    """A subscriber that falls behind goes on with the newest event."""
    from holdfast.streams.log_follower import LogFollower
    from holdfast.streams.pending_pages import PendingPages

    def skip(self: Any, subscription: Any) -> None:
        subscription.offset = subscription.stream.offset
        self._follower.advance(subscription)

    LogFollower.advance = _skipping(LogFollower.advance)  # type: ignore[method-assign]
    PendingPages.wait = skip  # type: ignore[method-assign]


def _skipping(advance: Any) -> Any:
    def careless(self: Any, subscription: Any) -> None:
        if not subscription.live and subscription.subscriber.ready and not subscription.ended:
            subscription.offset = max(subscription.offset, subscription.stream.offset)
        advance(self, subscription)

    return careless


def ignore_evictions() -> None:
    """No user is shut out before the next time that the rule is asked."""
    from holdfast.connections.revocation import Revocation

    Revocation._carry_out = lambda self, order, connection: None  # type: ignore[method-assign]


def keep_the_dead() -> None:
    """The members of a server that is gone stay on the lists."""
    from holdfast.roster.tracker import PresenceTracker

    async def nothing(self: Any, dead: str) -> None:
        pass

    PresenceTracker._clear = nothing  # type: ignore[method-assign]


def no_lock() -> None:
    """The functions that give out offsets take no lock. Done in the database, see :func:`break_the_database`."""


BREAKS: dict[str, Break] = {
    "skip-gaps": skip_gaps,
    "deliver-twice": deliver_twice,
    "no-sweep": no_sweep,
    "no-comparison": no_comparison,
    "tell-before-commit": tell_before_commit,
    "forget-keys": forget_keys,
    "skip-the-slow": skip_the_slow,
    "ignore-evictions": ignore_evictions,
    "keep-the-dead": keep_the_dead,
    "no-lock": no_lock,
}


def break_what_was_asked() -> None:
    if WANTED:
        BREAKS[WANTED]()


def break_the_database() -> None:
    """After ``migrate``: without the lock two may give out one offset, if no key forbids that."""
    if WANTED != "no-lock":
        return
    from django.db import connection

    from holdfast.log import postgresql_functions as functions

    with connection.cursor() as cursor:
        for function in (functions.PLACE, functions.MOVE):
            # A moment between reading the head and writing it, so that a short run need not be lucky.
            careless = function.replace("FOR NO KEY UPDATE SKIP LOCKED;", "; PERFORM pg_sleep(0.03);")
            assert careless != function
            cursor.execute(careless.replace("IF FOUND AND NOT EXISTS", "IF _id IS NOT NULL AND NOT EXISTS"))
        cursor.execute("ALTER TABLE holdfast_entry DROP CONSTRAINT holdfast_entry_pkey")

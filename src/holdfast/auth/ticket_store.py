"""Connection tickets in the database: each is used once, by whichever process receives it."""

import hashlib
import json
import secrets
import time
from collections.abc import Iterable

import msgspec
from django.db import connections

OUTSTANDING = 20
"""Tickets of one user that may be unused at the same time."""


class TooManyTickets(Exception):
    """The user has :data:`OUTSTANDING` unused tickets. ``retry_after``: seconds after which they have expired."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the user has {OUTSTANDING} unused tickets; they expire in {retry_after:g} seconds")
        self.retry_after = retry_after


class TicketRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a ticket stands for: a user by the text of the primary key, the session that it was issued in, if any, and the topics that
    it is bound to; ``None`` for all."""

    user: str
    session_key: str | None = None
    topics: frozenset[str] | None = None


class TicketStore:
    """Tickets in the table of ``holdfast.models.Ticket``, in one database (``using``). For worker threads.

    The table has the hash of a ticket and not the ticket, so that a reader of the database cannot use one. Deleting the row is what
    uses a ticket: of several processes that try at once, one has deleted it.
    """

    def __init__(self, using: str, seconds: float) -> None:
        self.using = using
        self.seconds = seconds

    def issue(self, record: TicketRecord) -> str:
        """Store a new ticket and return its text. Inside a transaction it can be used after the commit.

        Raises :class:`TooManyTickets`.
        """
        ticket, now = secrets.token_urlsafe(32), time.time()
        with connections[self.using].cursor() as cursor:
            cursor.execute("DELETE FROM holdfast_ticket WHERE expires_at <= %s", [now])
            cursor.execute("SELECT COUNT(*) FROM holdfast_ticket WHERE owner = %s", [_owner(record.user)])
            if cursor.fetchone()[0] >= OUTSTANDING:
                raise TooManyTickets(self.seconds)
            cursor.execute(
                "INSERT INTO holdfast_ticket (digest, owner, record, expires_at) VALUES (%s, %s, %s, %s)",
                [_digest(ticket), _owner(record.user), _written(record), now + self.seconds],
            )
        return ticket

    def use(self, ticket: str) -> TicketRecord | None:
        """Use a ticket up and return what it stands for; ``None`` if it is used already, has expired, or never was one."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(
                "SELECT record, expires_at FROM holdfast_ticket WHERE digest = %s", [_digest(ticket)]
            )
            found = cursor.fetchone()
            if found is None:
                return None
            cursor.execute("DELETE FROM holdfast_ticket WHERE digest = %s", [_digest(ticket)])
            if cursor.rowcount != 1:
                return None  # another process was faster
        written, expires_at = found
        return None if expires_at <= time.time() else _read(written)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


def _owner(user: str) -> str:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


def _written(record: TicketRecord) -> str:
    topics: Iterable[str] | None = record.topics
    return json.dumps([record.user, record.session_key, None if topics is None else sorted(topics)])


def _read(written: str) -> TicketRecord:
    user, session_key, topics = json.loads(written)
    return TicketRecord(
        user=user, session_key=session_key, topics=None if topics is None else frozenset(topics)
    )

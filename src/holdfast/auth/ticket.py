"""Connection tickets: the authenticator for clients that can put a credential only into the URL.

A ticket is worth little to a thief: it opens one connection, within seconds, and not beside another session's cookie. The
connection ends with the session that the ticket was issued in.
"""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import QueryDict

from holdfast import runtime
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.owner import user_id

from . import revalidation, session_store
from .base import Authenticator, AuthRequest, Identity, Kind
from .session import session_key
from .ticket_store import TicketRecord, TicketStore

logger = logging.getLogger("holdfast.authentication")

LONGEST = 100
"""Characters of a ticket. Those that are issued have 43."""


class TicketAuthenticator(Authenticator):
    """Authenticates the ``ticket`` in the query of a handshake's URL. The identity's own query has no ticket any more."""

    kind: ClassVar = Kind.TICKET

    def __init__(self, store: TicketStore) -> None:
        self._store = store

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        tickets = request.tickets
        if len(tickets) != 1 or not 0 < len(tickets[0]) <= LONGEST:
            return None
        threads, info = runtime.current().session_threads, HandlerInfo(host=request.host)
        cookie = session_key(request.headers)
        found = await threads.handle(info, self._redeemed, tickets[0], cookie)
        if found is None:
            return None
        user, record = found
        return AuthRequest(
            host=request.host, address=request.address, query_string=_without_ticket(request.query_string)
        ).identify(user, session_key=record.session_key, topics=record.topics)

    def _redeemed(self, ticket: str, cookie: str | None) -> tuple[Any, TicketRecord] | None:
        """Use the ticket up. Return its user as they are now, and what it stands for."""
        record = self._store.use(ticket)
        if record is None:
            return None
        if cookie is not None and record.session_key not in (None, cookie):
            logger.warning(
                "a ticket was refused: it was issued in another session than that of the handshake"
            )
            return None
        user = _user_of_session(record) if record.session_key else _user_of(record.user)
        if user is None or not getattr(user, "is_active", True):
            return None
        return user, record

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        return await revalidation.revalidate_in_threads(identities)


def _user_of_session(record: TicketRecord) -> Any:
    """Return the user of the session that the ticket was issued in, if the session still holds."""
    (found,) = session_store.find([record.session_key or ""])
    if isinstance(found, Exception):
        raise found
    return found.user if user_id(found.user) == record.user else None


def _user_of(text: str) -> Any:
    users = get_user_model()
    try:
        return users._default_manager.filter(pk=users._meta.pk.to_python(text)).first()
    except ValidationError:
        return None


def _without_ticket(query_string: str) -> str:
    query = QueryDict(query_string, mutable=True)
    query.pop("ticket", None)
    return query.urlencode()

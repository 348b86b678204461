"""Connection tickets: issue one to a user, for a client that can put a credential only into a URL.

::

    ticket = tickets.issue(user, topics=[Room(room="lobby")])
    url = f"wss://example.com/live/ws?ticket={ticket}"

A ticket opens one connection, within ``HOLDFAST["TICKET_SECONDS"]``, on any server. ``"ticket"`` has to be among
``HOLDFAST["AUTHENTICATOR"]``.
"""

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ImproperlyConfigured

from .auth.session import LONGEST_KEY
from .auth.ticket_store import TicketRecord, TicketStore, TooManyTickets
from .conf import NAME, settings
from .topics.owner import user_id
from .topics.registry import registry
from .topics.topic import Topic

__all__ = ["TooManyTickets", "aissue", "issue"]


def issue(user: Any, *, topics: Iterable[Topic | str] | None = None, session: Any = None) -> str:
    """Return a new ticket for a signed-in user.

    ``topics`` limits its connection to these topics, objects or names; the rules of the topics still decide. ``session`` is
    ``request.session``: the connection then ends when that session does. Inside a transaction, the ticket can be used after the commit.

    Raises ``ValueError`` for an anonymous user and for a name that no topic has, and :class:`TooManyTickets` if the user has 20 unused
    ones.
    """
    text = user_id(user)
    if text is None:
        raise ValueError("a ticket is for a signed-in user, and this one is anonymous")
    names = None if topics is None else frozenset(_name(topic, text) for topic in topics)
    return store().issue(TicketRecord(user=text, session_key=_key_of(session, text), topics=names))


async def aissue(user: Any, *, topics: Iterable[Topic | str] | None = None, session: Any = None) -> str:
    """The same as :func:`issue`, from async code."""
    return await sync_to_async(issue)(user, topics=topics, session=session)


def store() -> TicketStore:
    """Return the store of this project's tickets. Raises ``ImproperlyConfigured`` if it takes none."""
    chosen = settings()
    if "ticket" not in chosen.authenticator:
        raise ImproperlyConfigured(
            f'{NAME}["AUTHENTICATOR"] has no "ticket", so that no server would take one. Write: '
            f'{NAME} = {{"AUTHENTICATOR": ["session", "ticket"]}}.'
        )
    return TicketStore(chosen.database, chosen.ticket_seconds)


def _name(topic: Topic | str, user: str) -> str:
    if isinstance(topic, Topic):
        return topic.name
    found = registry.resolve(topic, user)
    if found is None:
        raise ValueError(f"no topic is called {topic!r}")
    return found.name


def _key_of(session: Any, user: str) -> str | None:
    """Return the key of the session, if it is this user's and the server stores it."""
    if session is None or str(session.get(SESSION_KEY)) != user:
        return None
    key: str | None = session.session_key
    return key if key is not None and len(key) <= LONGEST_KEY else None

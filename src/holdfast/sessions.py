"""Django's sessions and the users they belong to, read many at a time. Nothing here writes; all of it reads stores and so
belongs into a worker thread.

One query or one round trip serves all when the project uses what comes with Django: sessions in the cache or in the
database, users found by ``ModelBackend`` or a subclass that leaves ``get_user`` alone. Anything else is asked one by one,
and a mistake in one session is an error for that one only.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import cache as cached_sessions
from django.contrib.sessions.backends import db as database_sessions
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone
from django.utils.crypto import constant_time_compare


class Found(NamedTuple):
    """A session (Django's ``SessionStore``) and its user, ``AnonymousUser`` if the session is nobody's or does not verify."""

    session: Any
    user: Any


def find(keys: Sequence[str]) -> list[Found | Exception]:
    """The sessions of these keys with their users, in this order; in place of one that could not be read, the error."""
    try:
        return _find(keys)
    except (OperationalError, InterfaceError):
        # A database that was restarted has closed the connections that this thread had kept.
        connections.close_all()
        return _find(keys)


def _find(keys: Sequence[str]) -> list[Found | Exception]:
    sessions = _sessions(keys)
    users = _users(sessions)
    found: list[Found | Exception] = []
    for session in sessions:
        try:
            found.append(Found(session, user_of(session, users)))
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - it is handed to whoever brought this session
            found.append(error)
    return found


def _sessions(keys: Sequence[str]) -> list[Any]:
    """Session objects; where that is possible at once they are loaded already."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    sessions = [store(key) for key in keys]
    if len(keys) == 1:
        return sessions  # its own way is as short
    data: dict[str, Any]
    if store is cached_sessions.SessionStore:
        prefix = store.cache_key_prefix
        read = sessions[0]._cache.get_many([prefix + key for key in keys])
        data = {key.removeprefix(prefix): value for key, value in read.items()}
    elif store is database_sessions.SessionStore:
        rows = store.get_model_class().objects.filter(pk__in=set(keys), expire_date__gt=timezone.now())
        data = {row.pk: sessions[0].decode(row.session_data) for row in rows}
    else:
        return sessions
    for key, session in zip(keys, sessions, strict=True):
        session._session_cache = data.get(key, {})
        if key not in data:
            session._session_key = None  # as SessionStore.load() does
    return sessions


def _users(sessions: Iterable[Any]) -> dict[tuple[str, Any], Any]:
    """The users whom ``ModelBackend`` and its like find, by backend and primary key."""
    wanted: dict[str, set[Any]] = {}
    for session in sessions:
        if getattr(session, "_session_cache", None) and (owner := _owner_if_any(session)) is not None:
            wanted.setdefault(owner[0], set()).add(owner[1])
    users: dict[tuple[str, Any], Any] = {}
    for path, ids in wanted.items():
        backend = load_backend(path)
        if isinstance(backend, ModelBackend) and type(backend).get_user is ModelBackend.get_user:
            known = get_user_model()._default_manager.in_bulk(ids)
            for key in ids:
                user = known.get(key)
                users[path, key] = user if user is not None and backend.user_can_authenticate(user) else None
    return users


def _owner(session: Any) -> tuple[str, Any] | None:
    """By which backend the session was made, and for which primary key."""
    path = session.get(BACKEND_SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS or SESSION_KEY not in session:
        return None
    pk: Any = get_user_model()._meta.pk
    return path, pk.to_python(session[SESSION_KEY])


def _owner_if_any(session: Any) -> tuple[str, Any] | None:
    """The same; a session that names no primary key (the user model was another one) is left to :func:`user_of`."""
    try:
        return _owner(session)
    except ValidationError:
        return None


def user_of(session: Any, known: dict[tuple[str, Any], Any] | None = None) -> Any:
    """The user whom a session belongs to, if the session still verifies, else ``AnonymousUser``."""
    owner = _owner(session)
    if owner is None:
        return AnonymousUser()
    user = known[owner] if known and owner in known else load_backend(owner[0]).get_user(owner[1])
    return user if user is not None and verifies(session, user) else AnonymousUser()


def verifies(session: Any, user: Any) -> bool:
    """Was the session made with the user's present password, and one of the project's secret keys?"""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    found = session.get(HASH_SESSION_KEY)
    if not found:
        return False
    if constant_time_compare(found, user.get_session_auth_hash()):
        return True
    return any(constant_time_compare(found, old) for old in user.get_session_auth_fallback_hash())

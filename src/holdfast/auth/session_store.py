"""Django's sessions and their users, read many at a time, in a worker thread. Nothing here writes.

One query or one round trip reads all of them when the project uses Django's own parts: sessions in the cache or in the
database, and ``ModelBackend`` or a subclass that does not override ``get_user``. With other parts, each is read alone.

One client's session never affects another's. A key that Django cannot have made belongs to no session, and no store is asked
for it. When a common query fails, each session is read alone, and the error belongs to the session that caused it. An outage is
not a missing session: if the store does not answer, that is an error, where Django's cached sessions would be empty.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
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
from django.contrib.sessions.backends import file as file_sessions
from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError, connections
from django.db.models import Model
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from holdfast.topics.failures import Verdict, verdict_of
from holdfast.topics.owner import key_text, user_id

logger = logging.getLogger("holdfast.authentication")

OUTAGES = 2
"""Outages of a database after which the rest of a batch is not tried any more."""

_POSSIBLE_KEY = re.compile(r"[\x21-\x7e]{8,4096}")
"""Django makes no shorter keys, and no cookie is longer."""

_LONGEST_KEY = 100
"""Characters of a key under which a server stores a session. Django's keys have 32, and its table has room for 40."""

_ON_THE_SERVER = (cached_sessions.SessionStore, database_sessions.SessionStore, file_sessions.SessionStore)


class Found(NamedTuple):
    """A session (Django's ``SessionStore``) and its user; ``AnonymousUser`` if the session has no user or does not verify."""

    session: Any
    user: Any


def find(keys: Sequence[str]) -> list[Found | Exception]:
    """Return the sessions of these keys with their users, in the same order; an error in place of one that could not be read."""
    store = _store()
    possible = [is_possible(key, store) for key in keys]
    found = iter(_find_any([key for key, asked in zip(keys, possible, strict=True) if asked]))
    return [next(found) if asked else Found(store(), AnonymousUser()) for asked in possible]


def is_possible(key: str, store: Any) -> bool:
    """Return whether a project's session store can have made this key. A client can send any key."""
    longest = _LONGEST_KEY if issubclass(store, _ON_THE_SERVER) else len(key)
    return len(key) <= longest and _POSSIBLE_KEY.fullmatch(key) is not None


def _find_any(keys: Sequence[str]) -> list[Found | Exception]:
    """Read the sessions together; if that fails, read each alone."""
    if not keys:
        return []
    try:
        try:
            return _find(keys)
        except (OperationalError, InterfaceError):
            # A database that was restarted has closed the connections of this thread.
            connections.close_all()
            return _find(keys, last_try=True)
    except Exception as error:  # noqa: BLE001 - the handshake with this session raises it
        if len(keys) == 1 or verdict_of(error) is Verdict.UNAVAILABLE:
            return [error] * len(keys)
        logger.warning(
            "%d sessions could not be read together, and are read one by one: %r", len(keys), error
        )
        return [found for key in keys for found in _find_any([key])]


def _find(keys: Sequence[str], *, last_try: bool = False) -> list[Found | Exception]:
    """Read the sessions together. Raises any error that prevents that; before the ``last_try`` also a database's outage."""
    sessions = _sessions(keys)
    owners = _owners(sessions)
    users = _users(owners)
    found: list[Found | Exception] = []
    outages = 0
    for session, owner in zip(sessions, owners, strict=True):
        try:
            found.append(Found(session, user_of(session, users, owner)))
        except Exception as error:
            if isinstance(error, OperationalError | InterfaceError):
                outages += 1
                if not last_try:
                    raise
            found.append(error)
            if outages == OUTAGES:
                break
    return found + found[-1:] * (len(sessions) - len(found))


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _sessions(keys: Sequence[str]) -> list[Any]:
    """Return the session objects of these keys, loaded already if the store can load many at once."""
    store = _store()
    sessions = _made(store, keys)
    data: dict[str, Any]
    if store.load is cached_sessions.SessionStore.load:
        # Also for a single session: its own load() treats a cache that does not answer as an empty session.
        prefix = store.cache_key_prefix
        read = sessions[0]._cache.get_many([prefix + key for key in keys])
        data = {key.removeprefix(prefix): value for key, value in read.items()}
    elif len(keys) == 1:
        return sessions  # loading it by itself is as fast
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


def _made(store: Any, keys: Sequence[str]) -> list[Any]:
    """Return a new session object for each key. Those after the first are copies of it: the constructor of cached sessions looks
    for the cache, which takes longer than all the rest."""
    first = store(keys[0])
    sessions = [first]
    for key in keys[1:]:
        session = store.__new__(store)
        session.__dict__.update(first.__dict__)
        session._session_key = key
        sessions.append(session)
    return sessions


def read_users(model: type[Model], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of these primary keys, given and returned by their text; an error in place of a row that could not be
    read.

    One query reads all rows. If it fails, each row is read by its own query, unless the database does not answer.
    """
    manager = model._default_manager
    try:
        return {key_text(row.pk): row for row in manager.filter(pk__in=list(keys.values()))}
    except Exception as error:
        if verdict_of(error) is Verdict.UNAVAILABLE:
            raise
    rows: dict[str, Any] = {}
    for text, pk in keys.items():
        try:
            if (row := manager.filter(pk=pk).first()) is not None:
                rows[text] = row
        except Exception as error:  # noqa: BLE001 - it is the answer for this user
            rows[text] = error
    return rows


def _owners(sessions: Iterable[Any]) -> list[tuple[str, Any] | None]:
    """Return the owner of each session that is loaded; ``None`` for others, and for those without a valid one."""
    pk = get_user_model()._meta.pk
    return [
        _owner_if_any(session, pk) if getattr(session, "_session_cache", None) else None
        for session in sessions
    ]


def _users(owners: Iterable[tuple[str, Any] | None]) -> dict[tuple[str, str], Any]:
    """Return the users that ``ModelBackend`` and similar backends find, by backend and text of the primary key. A user that
    is not in it has to be read alone."""
    wanted: dict[str, dict[str, Any]] = {}
    for owner in owners:
        if owner is not None:
            wanted.setdefault(owner[0], {})[key_text(owner[1])] = owner[1]
    users: dict[tuple[str, str], Any] = {}
    for path, keys in wanted.items():
        backend = load_backend(path)
        if isinstance(backend, ModelBackend) and type(backend).get_user is ModelBackend.get_user:
            for text, user in read_users(get_user_model(), keys).items():
                if not isinstance(user, Exception):
                    users[path, text] = user if backend.user_can_authenticate(user) else None
    return users


def _owner(session: Any, pk: Any = None) -> tuple[str, Any] | None:
    """Return the backend that made the session, and the primary key of its user. ``pk``: the user model's, if it is known."""
    path = session.get(BACKEND_SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS or SESSION_KEY not in session:
        return None
    field: Any = get_user_model()._meta.pk if pk is None else pk
    return path, field.to_python(session[SESSION_KEY])


def names(session: Any, user: Any) -> bool:
    """Return whether the session names this user. A key may have another text in a session than on the user."""
    if str(session.get(SESSION_KEY)) == user_id(user):
        return True
    owner = _owner_if_any(session)
    return owner is not None and key_text(owner[1]) == user_id(user)


def _owner_if_any(session: Any, pk: Any = None) -> tuple[str, Any] | None:
    """As :func:`_owner`, but ``None`` for a session without a valid primary key, as after a change of the user model;
    :func:`user_of` raises the error."""
    try:
        return _owner(session, pk)
    except ValidationError:
        return None


def user_of(
    session: Any,
    known: Mapping[tuple[str, str], Any] = MappingProxyType({}),
    owner: tuple[str, Any] | None = None,
) -> Any:
    """Return the user of a session that still verifies, else ``AnonymousUser``. ``owner`` is the session's, if it is known."""
    owner = owner or _owner(session)
    if owner is None:
        return AnonymousUser()
    path, pk = owner
    place = path, key_text(pk)
    user = known[place] if place in known else load_backend(path).get_user(pk)
    return user if user is not None and verifies(session, user) else AnonymousUser()


def verifies(session: Any, user: Any) -> bool:
    """Return whether the session was made with the user's present password and one of the project's secret keys."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    found = session.get(HASH_SESSION_KEY)
    if not found:
        return False
    if constant_time_compare(found, user.get_session_auth_hash()):
        return True
    return any(constant_time_compare(found, old) for old in user.get_session_auth_fallback_hash())

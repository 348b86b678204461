"""Revalidation of identities: read their sessions and users again, many at a time, in a worker thread."""

import copy
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.models import Model

from holdfast import runtime
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.owner import key_text, user_id

from . import session_store
from .base import Identity


async def revalidate_in_threads(identities: Sequence[Identity]) -> list[Identity | Exception | None]:
    """As :func:`revalidate`, in worker threads, one visit for each host that handlers can tell apart."""
    threads = runtime.current().threads
    by_host: dict[str | None, list[int]] = {}
    for at, identity in enumerate(identities):
        by_host.setdefault(identity.host if threads.tells_hosts_apart else None, []).append(at)
    found: dict[int, Identity | Exception | None] = {}
    for host, places in by_host.items():
        some = [identities[at] for at in places]
        answers = await threads.handle(HandlerInfo(host=host), revalidate, some)
        found.update(zip(places, answers, strict=True))
    return [found[at] for at in range(len(identities))]


def revalidate(identities: Sequence[Identity]) -> list[Identity | Exception | None]:
    """Return for each identity what it is now: with its user read again, ``None`` if it does not hold any more, or the
    exception that kept from finding out.

    An identity with a session holds while the session exists and verifies, as it would for a request. One without a session
    (from a token or a middleware) holds while the user is in the database and is not inactive; a user that is no model
    instance always holds. One that has expired does not hold.
    """
    keys = list(dict.fromkeys(each.session_key for each in identities if each.session_key is not None))
    sessions = dict(zip(keys, session_store.find(keys), strict=True)) if keys else {}
    rows = _reload([each.user for each in identities if each.session_key is None])
    return [_renewed(each, _user_now(each, sessions, rows)) for each in identities]


def _renewed(identity: Identity, user: Any) -> Identity | Exception | None:
    if user is None or isinstance(user, Exception):
        return user
    return identity if user is identity.user else msgspec.structs.replace(identity, user=user)


def _user_now(
    identity: Identity,
    sessions: dict[str, session_store.Found | Exception],
    rows: dict[tuple[type, str], Any],
) -> Any:
    if identity.expired:
        return None
    if identity.session_key is None:
        return _without_session(identity.user, rows)
    found = sessions[identity.session_key]
    if isinstance(found, Exception):
        return found
    return found.user if user_id(found.user) == user_id(identity.user) else None


def _reload(users: Sequence[Any]) -> dict[tuple[type, str], Any]:
    """Return the rows of these users by class and text of the primary key, with one query for each class. In place of a row
    that could not be read stands the error."""
    by_model: dict[type[Model], dict[str, Any]] = {}
    for user in users:
        if isinstance(user, Model):
            by_model.setdefault(_model_of(user), {})[key_text(user.pk)] = user.pk
    return {
        (model, text): row
        for model, keys in by_model.items()
        for text, row in session_store.read_users(model, keys).items()
    }


def _model_of(user: Model) -> type[Model]:
    """The user's class, also if a lazy object wraps the user (``SimpleLazyObject``), as in ``request.user``."""
    return user.__class__


def _without_session(user: Any, rows: dict[tuple[type, str], Any]) -> Any:
    if not isinstance(user, Model):
        return user
    row = rows.get((_model_of(user), key_text(user.pk)))
    if isinstance(row, Exception):
        return row
    if row is None or not getattr(row, "is_active", True):
        return None
    # What the project put on the user itself, such as a token's claims. What Django keeps there is read again.
    extra = {
        name: value
        for name, value in vars(user).items()
        if name not in vars(row) and not name.startswith("_") and not hasattr(_model_of(user), name)
    }
    if extra:  # the row is shared by all of this user's connections, and each may have brought its own
        row = copy.copy(row)
        vars(row).update(extra)
    return row

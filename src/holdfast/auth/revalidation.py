"""What has become of the users whose connections these are: asked for many at a time, in a worker thread."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Model

from holdfast.connections.caller import user_id
from holdfast.connections.reauthorize import Claim
from holdfast.topics.owner import key_text

from . import session_store as sessions


def identify(claims: Sequence[Claim]) -> list[Any]:
    """For each claim the user as he is now, ``None`` if it does not hold any more, or why that could not be found out.

    A claim with a session holds while the session is there and verifies, as it would for a request. One without (a
    token's, or some other middleware's) holds while the user is in the database and is not inactive; users who are no
    models are believed.
    """
    keys = list(dict.fromkeys(claim.session_key for claim in claims if claim.session_key is not None))
    found = dict(zip(keys, sessions.find(keys), strict=True)) if keys else {}
    kept = _reload([claim.user for claim in claims if claim.session_key is None])
    return [
        _without_session(claim.user, kept)
        if claim.session_key is None
        else _with_session(claim.user, found[claim.session_key])
        for claim in claims
    ]


def _with_session(user: Any, found: sessions.Found | Exception) -> Any:
    if isinstance(found, Exception):
        return found
    return found.user if user_id(found.user) == user_id(user) else None


def _reload(users: Sequence[Any]) -> dict[tuple[type, str], Any]:
    """The rows of these users, by their class and the text of their primary key, with one query for a class. In place of a
    row that could not be read, the error."""
    by_model: dict[type[Model], dict[str, Any]] = {}
    for user in users:
        if isinstance(user, Model):
            by_model.setdefault(_model_of(user), {})[key_text(user.pk)] = user.pk
    return {
        (model, text): row
        for model, keys in by_model.items()
        for text, row in sessions.read_users(model, keys).items()
    }


def _model_of(user: Model) -> type[Model]:
    """Its class, also of one that comes wrapped (``SimpleLazyObject``), as in ``request.user``."""
    return user.__class__


def _without_session(user: Any, kept: dict[tuple[type, str], Any]) -> Any:
    if not isinstance(user, Model):
        return user
    row = kept.get((_model_of(user), key_text(user.pk)))
    if isinstance(row, Exception):
        return row
    if row is None or not getattr(row, "is_active", True):
        return None
    for name, value in vars(user).items():
        # What the project put on the user by itself, such as what a token says. What Django keeps there is asked anew.
        if name not in vars(row) and not name.startswith("_") and not hasattr(_model_of(user), name):
            setattr(row, name, value)
    return row

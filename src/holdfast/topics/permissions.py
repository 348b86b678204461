"""Permissions: the ``requires`` of a topic and of an action, by the names of Django's permissions."""

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Model

from holdfast.protocol.construction import shortened

Permissions = str | Sequence[str] | None
"""One permission, several that are all needed, or none."""

_NAME = re.compile(r"[^\W\d]\w*\.\S+")


def read_permissions(where: str, given: object) -> tuple[str, ...]:
    """Return the names of the permissions that ``requires`` lists. ``where`` names the place for the message.

    Raises ``TypeError`` for anything but names such as ``"orders.view_order"``.
    """
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable) or isinstance(names, bytes):
        raise TypeError(f"{where}: {shortened(given)} names no permission; {_EXAMPLE}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise TypeError(f"{where}: {shortened(name)} is not the name of a permission; {_EXAMPLE}")
    if not found:
        raise TypeError(f"{where}: the list is empty, so it requires nothing; {_EXAMPLE}, or write None")
    return tuple(dict.fromkeys(found))


_EXAMPLE = (
    'write the app\'s label and the codename, as for has_perm(): requires = "orders.view_order", or a list of '
    "several, which are all needed"
)


def has_permissions(user: Any, permissions: Sequence[str]) -> Any:
    """Return what the project's authentication backends say: does ``user`` have all permissions? For a worker thread.

    An anonymous user has none. Django keeps a user's permissions on the user object after the first question. A connection
    keeps that object for long, so a copy without them is asked.
    """
    if not user.is_authenticated:
        return False
    return _without_answers(user).has_perms(permissions)


def _without_answers(user: Any) -> Any:
    if not isinstance(user, Model):
        return user
    asked = copy.copy(user)
    for name in [name for name in vars(asked) if name.endswith("_perm_cache")]:
        delattr(asked, name)
    return asked

"""The text that stands for a user: the primary key as text, and the owner that commands, rates and call keys name.

All code that names a user uses this module, so that a primary key of any type has one text everywhere: in ``<me>``, in
commands, in the keys of calls, among the members of a topic, and in the welcome.
"""

import hashlib
from enum import Enum
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, UUIDField

LONGEST = 200
"""Characters of a primary key's text that an owner contains unchanged. A longer text is replaced by its hash."""


USER, ANONYMOUS = "user:", "client:"
"""The beginning of the owners that stand for signed-in users, and of those that stand for anonymous clients."""


class UserWithoutKey(ValueError):
    """A signed-in user has no primary key, so nothing tells it from other users: not its owner, its limits or its topics."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is signed in but has no primary key; give each user a pk of its own, or return an AnonymousUser"
        )


def key_text(pk: Any) -> str:
    """Return the text of a primary key, which is ``str()`` of it, as a plain ``str``. Raises :class:`UserWithoutKey` for
    ``None``, which would be one text for all users that have not been saved."""
    if pk is None:
        raise UserWithoutKey("a user")
    return str.__str__(str(pk))


def user_id(user: Any) -> str | None:
    """Return the primary key of a signed-in user as text; ``None`` for an anonymous one. Raises :class:`UserWithoutKey`."""
    if user is None or not user.is_authenticated:
        return None
    pk = getattr(user, "pk", None)
    if pk is None or pk == "":
        raise UserWithoutKey(f"a user of the class {type(user).__qualname__}")
    return key_text(pk)


def owner_of_key(pk: Any) -> str:
    """Return the owner that stands for a signed-in user, by the user's primary key or its text."""
    return owner_of_id(key_text(pk))


def owner_of_id(text: str) -> str:
    """Return the owner that stands for a signed-in user, by the text of the user's primary key."""
    return f"{USER}{in_owner(text)}"


def in_owner(text: str) -> str:
    """Return what stands for a primary key's text in an owner: the text itself, the same object, unless it is too long."""
    if len(text) <= LONGEST:
        return text
    return "#" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def owner_of_client(client: str) -> str:
    """Return the owner that stands for an anonymous client."""
    return f"{ANONYMOUS}{client}"


def is_user(owner: str) -> bool:
    """Is this owner a signed-in user, and not an anonymous client?"""
    return owner.startswith(USER)


def written(value: Any) -> str | None:
    """Return the text of a value that may stand for one thing in a topic's name, such as a primary key; ``None`` for others.

    A text, an integer, a UUID and an object with its own ``__str__`` may. ``None``, a flag, a float, a container and a model
    instance may not: their text in a name would be a mistake.
    """
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return key_text(value)
    kind = type(value)
    if kind.__module__ == "builtins" or isinstance(value, Model | BaseException) or hasattr(value, "pk"):
        return None
    return key_text(value) if any("__str__" in vars(base) for base in kind.__mro__[:-1]) else None


def canonical_key(pk: Any) -> Any:
    """Return the primary key that code wrote down, in the form that users have. A UUID can be written in several ways."""
    if not isinstance(pk, str) or not apps.is_installed("django.contrib.auth"):
        return pk
    field: Any = get_user_model()._meta.pk
    while field.is_relation:  # a model that inherits from another model with a table
        field = field.target_field
    if not isinstance(field, UUIDField):
        return pk
    try:
        return UUID(pk)
    except ValueError:
        return pk  # the key of another kind of user

"""The text that stands for a user: a primary key as text, and the owner that orders, rates and call keys go by.

Every place that names a user goes through this module, so that a primary key of any type has one text everywhere: in
``<me>``, in orders, in the keys of calls, among the members of a topic, and in the welcome.
"""

import hashlib
from enum import Enum
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, UUIDField

LONGEST = 200
"""Characters of a primary key's text that an owner holds as it is. Longer ones are replaced by their hash."""


def key_text(pk: Any) -> str:
    """Return the text of a primary key, as a plain ``str``: what ``str()`` says of it."""
    return str.__str__(str(pk))


def owner_of_key(pk: Any) -> str:
    """Return the owner that a signed-in user is, by primary key or by its text."""
    text = key_text(pk)
    if len(text) > LONGEST:
        text = "#" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"user:{text}"


def owner_of_client(client: str) -> str:
    """Return the owner that an anonymous client is."""
    return f"client:{client}"


def is_user(owner: str) -> bool:
    """Is this owner a signed-in user, and not an anonymous client?"""
    return owner.startswith("user:")


def written(value: Any) -> str | None:
    """Return the text of a value that stands for one thing in a topic's name, such as a primary key; ``None`` if it has none.

    A text, an integer, a UUID, and whatever says by a ``__str__`` of its own what its text is. Not ``None``, a flag, a float, a
    container, or a model instance, whose text would be a slip.
    """
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return key_text(value)
    kind = type(value)
    if kind.__module__ == "builtins" or isinstance(value, Model | BaseException) or hasattr(value, "pk"):
        return None
    return key_text(value) if any("__str__" in vars(base) for base in kind.__mro__[:-1]) else None


def canonical_key(pk: Any) -> Any:
    """Return a primary key that a caller wrote down. A UUID may be written in several ways, and users have one of them."""
    if not isinstance(pk, str) or not apps.is_installed("django.contrib.auth"):
        return pk
    field: Any = get_user_model()._meta.pk
    while field.is_relation:  # of a model that inherits from another one with a table
        field = field.target_field
    if not isinstance(field, UUIDField):
        return pk
    try:
        return UUID(pk)
    except ValueError:
        return pk  # the key of another kind of user

"""Public ids of clients: what stands for a client in owners, in ``exclude``, in call records and in the log.

A client names itself in its first message, by a random text that it keeps across connections. That text is a secret: for an anonymous
client, knowing it means being it. So the server keeps it in memory only, and uses a keyed hash of it everywhere else. The hash covers
the user as well: a client that claims the text of another user's client is another client.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings

from .owner import user_id

MARK = "~"
"""The first character of a public id. No text that a client may choose begins with it."""


def client_id(user: Any, given: str) -> str:
    """Return the public id of a client of ``user`` (``AnonymousUser`` or ``None`` for a client that is not signed in), from the id
    that the client says it has. For views::

        room.publish(event, exclude=holdfast.client_id(request.user, request.POST["client"]))
    """
    return public_id(user_id(user), given)


def public_id(user: str | None, secret: str) -> str:
    """As :func:`client_id`, with the text of the user's primary key."""
    return _hashed(settings.SECRET_KEY, user, secret)


def earlier_ids(user: str | None, secret: str) -> Sequence[str]:
    """Return the ids that the same client had under ``SECRET_KEY_FALLBACKS``."""
    return [_hashed(key, user, secret) for key in settings.SECRET_KEY_FALLBACKS]


@lru_cache(maxsize=4096)
def _hashed(key: str | bytes, user: str | None, secret: str) -> str:
    text = f"-:{secret}" if user is None else f"{len(user)}:{user}:{secret}"
    known = key if isinstance(key, bytes) else key.encode()
    found = hmac.digest(
        hashlib.sha256(b"holdfast.client" + known).digest(),
        text.encode("utf-8", "surrogatepass"),
        "sha256",
    )
    return MARK + base64.urlsafe_b64encode(found[:15]).decode()

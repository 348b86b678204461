"""Presence: the option of a topic that knows its members, and a member as Python code sees it."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import msgspec
from django.utils.crypto import salted_hmac

from holdfast.protocol.construction import Explained

LIST_LIMIT = 1000


class Presence(msgspec.Struct, metaclass=Explained, frozen=True, kw_only=True):
    """A topic with a ``Presence`` knows its members, on all servers, and sends them to its subscribers::

        class Room(Topic):
            presence = Presence()

            def presence_meta(self, user):  # what others see of a member, besides the id
                return {"name": user.get_username()}

    A signed-in user is one member, however many connections the user has; the member's id is the primary key as text.
    Without ``anonymous=False`` each anonymous client is a member too; its id begins with ``~``.

    While a topic has more than ``list_limit`` members, clients receive only their number. With ``list_limit=0`` they never
    receive the list.
    """

    __example__: ClassVar[str] = f"Presence(list_limit={LIST_LIMIT})"

    list_limit: int = LIST_LIMIT
    anonymous: bool = True

    def __post_init__(self) -> None:
        limit: object = self.list_limit
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise ValueError(
                f"Presence(list_limit={limit!r}): expected how many members to list at most, such as {LIST_LIMIT}, or 0 to "
                "tell only how many they are"
            )
        if not isinstance(self.anonymous, bool):
            raise TypeError(
                f"Presence(anonymous={self.anonymous!r}): expected True or False: are clients that are not signed in "
                "members too?"
            )


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a topic. ``id`` is the user's primary key as text, or begins with ``~``. ``since`` is when the first of the
    member's connections joined; ``meta`` is what ``presence_meta`` returned then, as read from JSON."""

    id: str
    meta: Any = None
    since: datetime

    @classmethod
    def read(cls, info: bytes) -> Self:
        """Return the member that the JSON text for clients describes."""
        told = _Told(info)
        return cls(id=told["id"], meta=told.get("meta"), since=datetime.fromtimestamp(told["since"], UTC))


_Told = msgspec.json.Decoder(dict[str, Any]).decode


def anonymous_id(client: str) -> str:
    """Return the id by which others see an anonymous client. The client's own id stays secret, because the idempotency keys
    of its calls depend on it."""
    return "~" + salted_hmac("holdfast.presence", client, algorithm="sha256").hexdigest()[:16]

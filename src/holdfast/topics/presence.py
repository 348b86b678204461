"""Who is here: what a topic says about it, and what it is told."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import msgspec

from holdfast.protocol.construction import Explained

LIST_LIMIT = 1000


class Presence(msgspec.Struct, metaclass=Explained, frozen=True, kw_only=True):
    """A topic with a ``Presence`` knows who has joined it, on all servers, and tells everybody who has::

        class Room(Topic):
            presence = Presence()

            def presence_meta(self, user):  # what others are told of a member, besides the id
                return {"name": user.get_username()}

    A signed-in user is one member, however many connections there are; the id is the primary key as text. Without
    ``anonymous=False`` each anonymous client is a member too, whose id begins with ``~``.

    While there are more than ``list_limit`` members clients are told how many, and not who. ``list_limit=0`` never tells
    who.
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
    """Somebody who is here. ``id`` is the user's primary key as text, or begins with ``~``. ``meta`` is what the topic's
    ``presence_meta`` said, as JSON reads it, when the first of the member's connections joined, at ``since``."""

    id: str
    meta: Any = None
    since: datetime

    @classmethod
    def read(cls, info: bytes) -> Self:
        """Read what clients are told of a member."""
        told = _Told(info)
        return cls(id=told["id"], meta=told.get("meta"), since=datetime.fromtimestamp(told["since"], UTC))


_Told = msgspec.json.Decoder(dict[str, Any]).decode

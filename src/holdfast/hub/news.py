"""What processes tell each other about a topic, as bytes on the backplane."""

import msgspec

from holdfast.log.announcement import Numbered as Numbered
from holdfast.log.base import Draft
from holdfast.presence.base import Change


class Passing(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Events that are in no log, in the order in which they were published."""

    origin: str
    events: tuple[tuple[str, bytes, str], ...]

    @classmethod
    def of(cls, drafts: list[Draft], origin: str) -> "Passing":
        return cls(origin, tuple((draft.name, draft.payload, draft.exclude) for draft in drafts))


class Present(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """A change of who is here (:class:`~holdfast.presence.base.Change`)."""

    origin: str
    before: str
    mark: str
    count: int
    joined: dict[str, bytes] | None
    left: tuple[str, ...]

    @classmethod
    def of(cls, change: Change, origin: str) -> "Present":
        joined = None if change.joined is None else dict(change.joined)
        return cls(origin, change.before, change.mark, change.count, joined, change.left)

    def change(self) -> Change:
        return Change(
            before=self.before, mark=self.mark, count=self.count, joined=self.joined, left=self.left
        )


News = Numbered | Passing | Present

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[News] = msgspec.msgpack.Decoder(News)
decode = _decoder.decode

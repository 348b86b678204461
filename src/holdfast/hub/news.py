"""What processes tell each other about a topic, as bytes on the backplane."""

import msgspec

from holdfast.log.base import Batch, Draft, Entry
from holdfast.presence.base import Change


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Entries of the log that were just given neighbouring offsets, in order. ``before`` is as in a ``Batch``."""

    origin: str
    epoch: str
    before: int
    entries: tuple[tuple[int, str, bytes, str, int], ...]

    @classmethod
    def of(cls, batch: Batch, origin: str) -> "Numbered":
        entries = tuple((e.offset, e.name, e.payload, e.exclude, e.stamp) for e in batch.entries)
        return cls(origin, batch.epoch, batch.before, entries)

    def batch(self, topic: str) -> Batch:
        entries = (Entry(offset=o, name=n, payload=p, exclude=x, stamp=s) for o, n, p, x, s in self.entries)
        return Batch(topic=topic, epoch=self.epoch, before=self.before, entries=tuple(entries))


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

"""What processes tell each other about a topic, as bytes on the backplane."""

import msgspec

from holdfast.log.base import Batch, Draft, Entry


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Entries of the log that were just given neighbouring offsets, in order."""

    origin: str
    epoch: str
    entries: tuple[tuple[int, str, bytes, str], ...]

    @classmethod
    def of(cls, batch: Batch, origin: str) -> "Numbered":
        entries = tuple((entry.offset, entry.name, entry.payload, entry.exclude) for entry in batch.entries)
        return cls(origin, batch.epoch, entries)

    def batch(self, topic: str) -> Batch:
        entries = (Entry(offset=o, name=n, payload=p, exclude=x) for o, n, p, x in self.entries)
        return Batch(topic=topic, epoch=self.epoch, entries=tuple(entries))


class Passing(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Events that are in no log, in the order in which they were published."""

    origin: str
    events: tuple[tuple[str, bytes, str], ...]

    @classmethod
    def of(cls, drafts: list[Draft], origin: str) -> "Passing":
        return cls(origin, tuple((draft.name, draft.payload, draft.exclude) for draft in drafts))


News = Numbered | Passing

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[News] = msgspec.msgpack.Decoder(Numbered | Passing)
decode = _decoder.decode

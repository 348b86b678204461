"""Positions of subscribers in the logs of durable topics."""

from typing import Annotated, Any

import msgspec

from .construction import shortened

Epoch = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Offsets stay within what a JavaScript number holds exactly (2^53 - 1)."""

Stamp = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
"""Distinguishes entries that were given the same offset in one epoch. 0 means not known."""


class Position(msgspec.Struct, frozen=True, kw_only=True, order=False, omit_defaults=True):
    """A position in one topic's log: everything up to and including ``offset`` has been seen.

    ``epoch`` identifies one life of the log. Two positions can be compared only within one epoch: when a log is lost or
    rebuilt, its epoch changes and earlier offsets lose their meaning. A log that went back in time (a backup was restored)
    may assign offsets a second time before this is noticed. A position therefore also identifies the entry that was seen at its
    offset: ``stamp`` is that entry's, or 0 if it is not known.
    """

    epoch: Epoch
    offset: Offset
    stamp: Stamp = 0

    @classmethod
    def parse(cls, value: Any) -> "Position":
        """Read a position from ``{"epoch": "k3", "offset": 41, "stamp": 7}`` or from its text form ``"k3:41.7"``.

        The stamp may be left out: ``"k3:41"``.

        Raises ``msgspec.ValidationError`` if it is neither.
        """
        read = value
        if isinstance(value, str):
            epoch, _, offset = value.rpartition(":")
            offset, _, stamp = offset.partition(".")
            read = {"epoch": epoch, "offset": _number(offset), "stamp": _number(stamp or "0")}
        try:
            return msgspec.convert(read, cls)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(
                f"Position.parse({shortened(value)}): this is no position ({error}); expected one as text, such as "
                '"k3:41.7", or as {"epoch": "k3", "offset": 41, "stamp": 7}'
            ) from error

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}{f'.{self.stamp}' if self.stamp else ''}"


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text

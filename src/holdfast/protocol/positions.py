"""Where a subscriber stands in a durable topic's log."""

from typing import Annotated, Any

import msgspec

Epoch = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Offsets stay within what a JavaScript number holds exactly (2^53 - 1)."""


class Position(msgspec.Struct, frozen=True, kw_only=True, order=False):
    """A place in one topic's log: everything up to and including ``offset`` has been seen.

    ``epoch`` names the life of the log. Two positions can be compared only within one epoch: when a log is lost
    or rebuilt its epoch changes, and offsets handed out before mean nothing any more.
    """

    epoch: Epoch
    offset: Offset

    @classmethod
    def parse(cls, value: Any) -> "Position":
        """Read a position from ``{"epoch": "k3", "offset": 41}`` or from its text form ``"k3:41"``.

        Raises ``msgspec.ValidationError`` when it is neither.
        """
        if isinstance(value, str):
            epoch, _, offset = value.rpartition(":")
            value = {"epoch": epoch, "offset": int(offset) if offset.isdecimal() else offset}
        return msgspec.convert(value, cls)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

"""Messages that wait until a token is verified."""

from collections.abc import Iterable, Iterator

from . import frames
from .effects import Send


class Waiting:
    """The messages that arrived since a ``hello`` with a token. Together they may have ``room`` bytes."""

    __slots__ = ("_frames", "_room")

    def __init__(self, room: int, first: Iterable[frames.Inbound] = ()) -> None:
        self._room = room
        self._frames: list[frames.Inbound | Send] = [*first]

    def add(self, frame: frames.Inbound | Send, size: int) -> bool:
        """Add a message of ``size`` bytes, or return ``False`` if there is no room. An answer needs none."""
        if not isinstance(frame, Send):
            if size > self._room:
                return False
            self._room -= size
        self._frames.append(frame)
        return True

    def __iter__(self) -> Iterator[frames.Inbound | Send]:
        return iter(self._frames)

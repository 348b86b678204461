"""The topics of one connection, by the names that its client asked for."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from .frames import JoinFrame, LeaveFrame

NO_ALIASES: Mapping[str, str] = MappingProxyType({})
"""The aliases of most connections most of the time; a dict per connection would weigh 80 bytes."""


class TopicState(msgspec.Struct, frozen=True):
    """A connection's state on one topic. Joins and leaves that arrive while a join is undecided wait in order."""

    joined: bool = False
    waiting: tuple[JoinFrame | LeaveFrame, ...] = ()

    @property
    def will_be_left(self) -> bool:
        return bool(self.waiting) and isinstance(self.waiting[-1], LeaveFrame)


UNDECIDED, JOINED = TopicState(), TopicState(joined=True)
"""The states of nearly all topics nearly always. They are shared, because there is one for each topic of each connection."""


class TopicStates(dict[str, TopicState]):
    """States of the topics that a client has joined or asked to join, by the name that it asked for.

    That name can be an alias: ``notes/me`` may mean ``notes/7``. Messages of the server carry the canonical name; the client
    may use either.
    """

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked = NO_ALIASES  # canonical name -> the alias asked for

    def asked(self, name: str) -> str:
        """Return the name that the client asked for, of a topic given by that name or by its canonical one."""
        return self._asked.get(name, name)

    def has_joined(self, asked: str) -> bool:
        state = self.get(asked)
        return state is not None and state.joined

    def canonical(self, asked: str) -> str:
        """Return the canonical name of a topic."""
        if not self._asked:
            return asked
        return next((name for name, alias in self._asked.items() if alias == asked), asked)

    def resolve(self, asked: str, canonical: str) -> bool:
        """Note that ``asked`` means ``canonical``. Return ``False`` if that topic is already joined by another name."""
        if canonical != asked:
            if canonical in self or canonical in self._asked:
                return False
            self._asked = {**self._asked, canonical: asked}
        elif canonical in self._asked:
            return False
        return True

    def joined(self, asked: str, canonical: str) -> tuple[JoinFrame | LeaveFrame, ...]:
        """Note that a topic is joined, and return the joins and leaves that waited. The driver's string of the canonical name is kept
        in place of the client's, because the driver shares it among connections."""
        waiting = self.pop(asked).waiting
        self[canonical if canonical == asked else asked] = JOINED
        return waiting

    def remove(self, asked: str) -> str:
        """Remove a topic together with its alias, and return its canonical name."""
        canonical = self.canonical(asked)
        if canonical != asked:
            rest = {name: alias for name, alias in self._asked.items() if name != canonical}
            self._asked = rest or NO_ALIASES
        del self[asked]
        return canonical

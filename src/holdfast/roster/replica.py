"""What one hub knows of a topic's members: a copy of the store's list that says up to which change it holds.

A change that follows the copy's mark is applied, one that is known already is dropped, and one beyond a gap is kept back
while the list is read again. Whoever was told of an earlier state gets one message of what is different now, however many
changes lie between. Pure: no clock, no task, no store.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from holdfast.presence.base import Change, Roster, number

STEPS = 256
"""So many steps are kept for those that were told of an earlier state; older ones get the whole list."""

MARKS = 256
"""So many marks are kept to know a change again that comes late or twice."""

HELD = 64
"""So many changes beyond a gap are kept back; the list is read again anyway."""

Step = dict[str, tuple[bytes | None, bytes | None]]
"""For each member that a step concerns what was known of it before, and what after; ``None`` is nobody."""


class Taken(Enum):
    """What became of a change."""

    APPLIED = "applied"
    KNOWN = "known"
    EARLY = "early"  # there is a gap before it; the list has to be read if that is not filled in a moment
    STRANGE = "strange"  # of another life of the store, or very late; the list has to be read


class Asked(NamedTuple):
    """What a mirror knew when its list was asked for."""

    mark: str
    held: tuple[str, ...]


class Mirror:
    """The members of one topic; only how many they are, where there are more than ``limit``.

    ``state`` counts the states that this copy has been in; 0 is the one of knowing nothing.
    """

    __slots__ = ("_forms", "_held", "_marks", "_steps", "count", "limit", "mark", "members", "state")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.mark = ""
        self.state = 0
        self.count = 0
        self.members: dict[str, bytes] | None = {}
        self._steps: deque[Step | None] = deque(maxlen=STEPS)  # None: a step that has no list
        self._marks: OrderedDict[str, None] = OrderedDict()
        self._held: dict[str, Change] = {}  # by the mark that they follow
        self._forms: dict[int, bytes | None] = {}

    @property
    def known(self) -> bool:
        return self.state > 0

    @property
    def listed(self) -> bool:
        """Is there a list, and may it be shown?"""
        return self.known and self.members is not None

    @property
    def waiting(self) -> bool:
        """Does the list have to be read: for changes beyond a gap, or since it is short enough again, or wrong?"""
        members = self.members
        return bool(self._held) or (
            self.count <= self.limit if members is None else len(members) != self.count
        )

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, change: Change) -> Taken:
        """Something has changed, somewhere."""
        if change.mark == change.before or change.mark == self.mark or change.mark in self._marks:
            return Taken.KNOWN
        if not self.known or change.before != self.mark:
            if self.known and number(change.mark) <= number(self.mark):
                return Taken.STRANGE
            if len(self._held) < HELD:
                self._held[change.before] = change
            return Taken.EARLY
        self._apply(change)
        self._go_on()
        return Taken.EARLY if self.waiting else Taken.APPLIED

    def ask(self) -> Asked:
        """To be called when the list is asked for, and handed to :meth:`replace` with the answer."""
        return Asked(self.mark, tuple(self._held))

    def replace(self, roster: Roster, asked: Asked) -> bool:
        """The list was read. ``False``: it has to be read again."""
        if self.known and self.mark != asked.mark:
            if roster.mark == self.mark or roster.mark in self._marks:
                return not self.waiting  # while it was read, this copy has gone further
            if number(roster.mark) < number(self.mark):
                return False
        self._stand_at(roster)
        self._go_on()
        for before, change in tuple(self._held.items()):
            # What was kept back before the list was read is in it, or the store has lost it.
            if before in asked.held or change.mark in self._marks:
                del self._held[before]
        return not self.waiting

    def _stand_at(self, roster: Roster) -> None:
        old = self.members
        new = None if roster.members is None or roster.count > self.limit else dict(roster.members)
        step = None if old is None or new is None or not self.known else _difference(old, new)
        self.members, self.count = new, roster.count
        if step == {}:
            self._note(roster.mark)
        else:
            self._advance(roster.mark, step)

    def _go_on(self) -> None:
        while (change := self._held.pop(self.mark, None)) is not None:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        members, joined = self.members, change.joined
        self.count = change.count
        if members is None or joined is None or change.count > self.limit:
            self.members = None
            self._advance(change.mark, None)
            return
        step: Step = {member: (members.get(member), info) for member, info in joined.items()}
        step |= {member: (members.get(member), None) for member in change.left}
        members.update(joined)
        for member in change.left:
            members.pop(member, None)
        self._advance(change.mark, step)

    def _advance(self, mark: str, step: Step | None) -> None:
        self.state += 1
        self._steps.append(step)
        self._forms.clear()
        self._note(mark)

    def _note(self, mark: str) -> None:
        self.mark = mark
        self._marks[mark] = None
        if len(self._marks) > MARKS:
            self._marks.popitem(last=False)

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────

    def since(self, state: int) -> bytes | None:
        """What to tell somebody who was told of an earlier state, as JSON; ``None`` if it comes to nothing."""
        if state not in self._forms:
            self._forms[state] = self._since(state)
        return self._forms[state]

    def _since(self, state: int) -> bytes | None:
        missing = self.state - state
        if not missing:
            return None
        if self.members is None:
            return b'{"count":%d}' % self.count
        steps = list(self._steps)[-missing:]
        if not state or missing > len(self._steps) or any(step is None for step in steps):
            return b'{"members":%b}' % self.listing
        net = _net(step for step in steps if step is not None)
        if not net:
            return None
        joined = [msgspec.Raw(after) for _, after in net.values() if after is not None]
        left = [member for member, (_, after) in net.items() if after is None]
        told: dict[str, object] = {}
        if joined:
            told["joined"] = joined
        if left:
            told["left"] = left
        return msgspec.json.encode(told)

    @property
    def listing(self) -> bytes:
        """The members, as a JSON list in the order in which they came."""
        form = self._forms.get(-1)
        if form is None:
            form = self._forms[-1] = b"[%b]" % b",".join((self.members or {}).values())
        return form


def _difference(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> Step:
    touched = [member for member in one if other.get(member) != one[member]]
    touched += [member for member in other if member not in one]
    return {member: (one.get(member), other.get(member)) for member in touched}


def _net(steps: Iterable[Step]) -> Step:
    """What the steps come to, one after the other."""
    net: Step = {}
    for step in steps:
        for member, (before, after) in step.items():
            net[member] = (net[member][0] if member in net else before, after)
    return {member: (before, after) for member, (before, after) in net.items() if before != after}

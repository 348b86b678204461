"""Replica of a topic's roster in one hub: a copy of the store's list that knows up to which change it is current.

A change that follows the replica's mark is applied, a known one is dropped, and one beyond a gap is held back while the
list is read again. A client that knows an earlier state gets one diff to the present one, however many changes lie between.
Pure: no clock, no task, no store.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from holdfast.presence.base import Change, Roster, number

STEPS = 256
"""Steps that are kept for clients that know an earlier state. Clients that know an older one get the whole list."""

MARKS = 256
"""Marks that are kept to recognize a change that arrives late or twice."""

HELD = 64
"""Changes beyond a gap that are held back. Further ones are dropped: the list is read again anyway."""

Step = dict[str, tuple[bytes | None, bytes | None]]
"""For each member that a step concerns: its info before and after the step; ``None`` if it was or is not there."""


class Applied(Enum):
    """What :meth:`RosterReplica.apply` did with a change."""

    DONE = "done"
    KNOWN = "known"
    EARLY = "early"  # there is a gap before it; if that is not filled in a moment the list has to be read
    STRANGE = "strange"  # from before the store lost its memory, or very late; the list has to be read


class ReadStart(NamedTuple):
    """What a replica knew when a read of its list began."""

    mark: str
    held: tuple[str, ...]


class RosterReplica:
    """The members of one topic; only their count, where there are more than ``limit``.

    ``state`` counts the states that this replica has been in; in state 0 it knows nothing.
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
    def incomplete(self) -> bool:
        """Does the list have to be read: for changes beyond a gap, or because it is short enough again, or wrong?"""
        members = self.members
        return bool(self._held) or (
            self.count <= self.limit if members is None else len(members) != self.count
        )

    # ── changes and lists ─────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, change: Change) -> Applied:
        """Apply a change, from this process or another one, if it is the next."""
        if change.mark == change.before or change.mark == self.mark or change.mark in self._marks:
            return Applied.KNOWN
        if not self.known or change.before != self.mark:
            if self.known and number(change.mark) <= number(self.mark):
                return Applied.STRANGE
            if len(self._held) < HELD:
                self._held[change.before] = change
            return Applied.EARLY
        self._step(change)
        self._apply_held()
        return Applied.EARLY if self.incomplete else Applied.DONE

    def begin_read(self) -> ReadStart:
        """Note the state before the list is read. :meth:`replace` needs it with the list."""
        return ReadStart(self.mark, tuple(self._held))

    def replace(self, roster: Roster, start: ReadStart) -> bool:
        """Take over a list that was read. Return ``False`` if it has to be read again."""
        if self.known and self.mark != start.mark:
            if roster.mark == self.mark or roster.mark in self._marks:
                return not self.incomplete  # while it was read, this replica has gone further
            if number(roster.mark) < number(self.mark):
                return False
        self._stand_at(roster)
        self._apply_held()
        for before, change in tuple(self._held.items()):
            # A change that was held back before the read began is in the list, or the store has lost it.
            if before in start.held or change.mark in self._marks:
                del self._held[before]
        return not self.incomplete

    def _stand_at(self, roster: Roster) -> None:
        old = self.members
        new = None if roster.members is None or roster.count > self.limit else dict(roster.members)
        step = None if old is None or new is None or not self.known else _difference(old, new)
        self.members, self.count = new, roster.count
        if step == {}:
            self._note(roster.mark)
        else:
            self._advance(roster.mark, step)

    def _apply_held(self) -> None:
        while (change := self._held.pop(self.mark, None)) is not None:
            self._step(change)

    def _step(self, change: Change) -> None:
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

    # ── diffs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def since(self, state: int) -> bytes | None:
        """Return the diff from an earlier state to the present one, as JSON; ``None`` if nothing is different."""
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
        diff: dict[str, object] = {}
        if joined:
            diff["joined"] = joined
        if left:
            diff["left"] = left
        return msgspec.json.encode(diff)

    @property
    def listing(self) -> bytes:
        """The members, as a JSON list in the order in which they joined."""
        form = self._forms.get(-1)
        if form is None:
            form = self._forms[-1] = b"[%b]" % b",".join((self.members or {}).values())
        return form


def _difference(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> Step:
    touched = [member for member in one if other.get(member) != one[member]]
    touched += [member for member in other if member not in one]
    return {member: (one.get(member), other.get(member)) for member in touched}


def _net(steps: Iterable[Step]) -> Step:
    """The net effect of the steps, one after the other."""
    net: Step = {}
    for step in steps:
        for member, (before, after) in step.items():
            net[member] = (net[member][0] if member in net else before, after)
    return {member: (before, after) for member, (before, after) in net.items() if before != after}

"""Turns: whose work gets the next free thread of a pool.

Three rules keep one owner (a user, or an address) from taking a pool for itself:

- **A share each.** Work starts only while its owner uses fewer threads than are free. One busy owner gets half of the threads, and
  two get a third each, once their threads have changed hands. So a thread stays free for a newcomer. (Dynamic thresholds, after
  Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
- **In turn.** Of the owners that wait, the one with the fewest threads is next. Owners with equally many take turns.
- **Two kinds.** Calls of actions never take the last quarter of the threads, which decisions can always use; and decisions never
  take the last quarter from calls. Decisions are what a connection waits for before it can do anything: rules, tokens, snapshots.

The process's own work, such as a revocation that has to ask rules again, has no owner. It takes part in turn, without a share.

Putting and taking work costs the same however much waits.
"""

from collections import OrderedDict, deque
from enum import Enum

RESERVED = 4
"""One thread in so many is kept from each kind for the other. (A pool of one thread cannot keep any.)"""

WAITING_EACH = 1000
"""Decisions of one owner that may wait for a thread: as many joins as ten connections can have open."""

WAITING_ALL = 10_000
"""Decisions of all owners that may wait for a thread."""


class Overloaded(Exception):
    """Too much work waits for a thread already. The same work may succeed later."""


class Kind(Enum):
    """The kind of a piece of work. The number of unfinished calls is bounded where they begin (``CALLS_PER_USER``)."""

    CALL = "call"
    DECISION = "decision"


Place = tuple[Kind, str | None]
"""The line that a piece of work waits in: its kind, and its owner; ``None`` for work of the process itself."""

OWN: Place = (Kind.DECISION, None)


class Work:
    """A piece of work. :meth:`run` runs in a thread of the pool, and raises nothing."""

    __slots__ = ()

    @property
    def dropped(self) -> bool:
        """Whether nothing waits for the work any more, so that it need not start."""
        return False

    def run(self) -> None:
        raise NotImplementedError


class Line:
    """The work of one owner: what waits, and how many threads run more of it."""

    __slots__ = ("_level", "group", "owner", "running", "waiting")

    def __init__(self, group: "Group", owner: str | None) -> None:
        self.group = group
        self.owner = owner
        self.running = 0
        self.waiting: deque[Work] = deque()

    @property
    def level(self) -> int:
        """The number of threads that count against the owner's share."""
        return 0 if self.owner is None else self.running


class Group:
    """The lines of one kind, sorted by the number of threads that each uses."""

    __slots__ = ("_bounded", "_levels", "_lines", "_most", "_waiting", "running")

    def __init__(self, size: int, most: int, *, bounded: bool) -> None:
        self._most = most
        self._bounded = bounded
        self._lines: dict[str | None, Line] = {}
        # OrderedDict, because taking the first key of a dict takes longer with every key that was taken before.
        self._levels: list[OrderedDict[str | None, Line]] = [OrderedDict() for _ in range(size + 1)]
        self._waiting = 0
        self.running = 0

    def put(self, owner: str | None, work: Work) -> None:
        line = self._lines.get(owner)
        if self._bounded and owner is not None:
            if line is not None and len(line.waiting) >= WAITING_EACH:
                raise Overloaded(f"{WAITING_EACH} pieces of work of {owner} wait for a thread")
            if self._waiting >= WAITING_ALL:
                raise Overloaded(f"{WAITING_ALL} pieces of work wait for a thread")
        if line is None:
            line = self._lines[owner] = Line(self, owner)
        if not line.waiting:
            self._levels[line.level][owner] = line
        line.waiting.append(work)
        self._waiting += 1

    def take(self, free: int) -> tuple[Line, Work] | None:
        """Return work that may start now, and its line; ``free`` is the number of threads that are free."""
        if not self._waiting:
            return None
        part = self._most - self.running
        if part <= 0:  # only the process's own work may go beyond
            lines = self._levels[0]
            return self._start(lines.pop(None)) if None in lines else None
        for level in range(min(free, part)):
            lines = self._levels[level]
            while lines:
                found = self._start(lines.popitem(last=False)[1])
                if found is not None:
                    return found
        return None

    def _start(self, line: Line) -> tuple[Line, Work] | None:
        """Take the first work of a line. Return ``None`` if all that waited in it was dropped."""
        work = self._next(line)
        if work is not None:
            line.running += 1
            self.running += 1
        if line.waiting:
            self._levels[line.level][line.owner] = line
        elif not line.running:
            del self._lines[line.owner]
        return None if work is None else (line, work)

    def _next(self, line: Line) -> Work | None:
        """Take the line's first work, past what was dropped while it waited."""
        while line.waiting:
            work = line.waiting.popleft()
            self._waiting -= 1
            if not work.dropped:
                return work
        return None

    def done(self, line: Line) -> None:
        if line.waiting:
            del self._levels[line.level][line.owner]
        line.running -= 1
        self.running -= 1
        if line.waiting:
            self._levels[line.level][line.owner] = line
        elif not line.running:
            del self._lines[line.owner]


class Turns:
    """The work of one pool of ``size`` threads. Not safe for several threads: the pool holds a lock around each call."""

    def __init__(self, size: int) -> None:
        self._size = size
        most = size - max(1, size // RESERVED) if size > 1 else 1
        self._decisions = Group(size, most, bounded=True)
        self._calls = Group(size, most, bounded=False)

    def put(self, place: Place, work: Work) -> None:
        """Let ``work`` wait for its turn. Raises :class:`Overloaded` if too much waits."""
        kind, owner = place
        (self._calls if kind is Kind.CALL else self._decisions).put(owner, work)

    def take(self) -> tuple[Line, Work] | None:
        """Return the work to start now in a free thread, and its line; ``None`` if none may start."""
        free = self._size - self._decisions.running - self._calls.running
        if free <= 0:
            return None
        return self._decisions.take(free) or self._calls.take(free)

    def done(self, line: Line) -> None:
        """Note that work of ``line`` has ended, and that its thread is free."""
        line.group.done(line)

"""The event log of durable topics: the interface that every store of it implements.

A log holds, for each topic, a sequence of entries with the offsets 1, 2, 3, … without holes. Every implementation promises:

- **Order.** Offsets of one topic are given out one after the other, and a reader always sees a prefix of the
  sequence. Entries that one caller wrote one after the other keep that order.
- **Atomicity.** A batch given to :meth:`Log.append` gets neighbouring offsets in each topic, or is not written at all.
  Entries given to :meth:`Log.stage` become real when the caller's transaction commits, and never if it rolls back
  (savepoints included).
- **Loss.** Entries stay readable until :meth:`Log.trim` removes them, oldest first. Reading below the floor raises
  :class:`Trimmed`.
- **Epochs.** A topic's offsets belong to its epoch. A log that was lost or rebuilt gives the topic a new one. A topic has an
  epoch before its first entry, though nothing is stored for it.
- **Stamps.** A store may go back in time (a backup is restored, a replica takes over without the last commits) and
  give out offsets of the same epoch a second time. So each entry has a stamp, drawn from the clock when it got its
  offset: two entries that were given one offset at different times have the same stamp once in 2^32 times. Reading
  after a position whose stamp is not that of the entry there raises :class:`Diverged`, and :meth:`Log.rotate_epoch` gives
  the topic another epoch. The stamp of the last entry that was trimmed is kept, so this holds at the floor too.

All methods block and may be called from any thread, but not from a running event loop (unless :attr:`Log.blocking`
is false). One contract suite, ``tests/log/contract.py``, runs over every implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from holdfast.protocol.positions import Position

from .calls import CallStore

T = TypeVar("T")

BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 - a store may know only naive times


def stamp_of(moment: datetime | str | None) -> int:
    """The stamp of what got its offset at ``moment``: its microseconds, as far as they fit. 0 for ``None``.

    A naive time is taken as it is, so a store that keeps such has to give the same one each time.
    """
    if moment is None:
        return 0
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - BEGINNING) // timedelta(microseconds=1) % 2**32 or 1


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is to be written to the log.

    ``payload`` is JSON text. ``exclude`` is the id of a client that must not receive it, or ``""``.
    """

    topic: str
    name: str
    payload: bytes
    exclude: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the log, at its offset (1 is the first). ``stamp``: see above; 0 if it is not known."""

    offset: int
    name: str
    payload: bytes
    exclude: str = ""
    stamp: int = 0


def upto_size(entries: Iterable[Entry], size: int | None) -> list[Entry]:
    """Return the entries up to the one at which their payloads reach ``size`` bytes. Takes no more of them than that."""
    if size is None:
        return list(entries)
    page = []
    for entry in entries:
        page.append(entry)
        size -= len(entry.payload)
        if size <= 0:
            break
    return page


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of one topic that just got neighbouring offsets, in order; never empty.

    ``before`` is the stamp of the entry that they follow, or 0 if they are the first. ``announced``: the other processes
    received the entries in the same step that wrote them, so the caller does not broadcast them.
    """

    topic: str
    epoch: str
    entries: tuple[Entry, ...]
    before: int = 0
    announced: bool = False


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one topic's log: the last offset given out (0: none yet) and the last one trimmed away.

    ``stamp`` is that of the last entry, or 0 if there was none.
    """

    epoch: str
    offset: int
    floor: int = 0
    stamp: int = 0

    @property
    def position(self) -> Position:
        return Position(epoch=self.epoch, offset=self.offset, stamp=self.stamp)


class LogError(Exception):
    """Base class of the log's errors.

    ::

        LogError
        ├── LogUnavailable    the store behind it does not answer; trying again may help
        ├── NotMigrated       its tables are not there
        └── Trimmed           the entries asked for are gone
            └── Diverged      the log has other entries than the one that the position was taken from
    """


class LogUnavailable(LogError):
    """The store behind the log does not answer. A retry may help."""


class NotMigrated(LogError):
    """The log's tables are not there: run ``manage.py migrate holdfast``."""


class Trimmed(LogError):
    """The entries after ``after`` cannot be read without a hole: the log of ``topic`` starts after ``head.floor``."""

    def __init__(self, topic: str, after: int, head: Head) -> None:
        super().__init__(
            f"topic {topic!r}: entries after {after} are gone, the log starts after {head.floor}"
        )
        self.topic, self.after, self.head = topic, after, head


class Diverged(Trimmed):
    """The entry at the position is not the one that the position was taken from, or there is none yet: the log went back in time."""


class Log(ABC):
    """One store of durable topics."""

    blocking: bool = True
    """Whether the methods wait for I/O. If so they must not run on the event loop."""

    shared: bool = True
    """Whether other processes see the same log."""

    staged_may_be_lost: bool = False
    """Whether entries staged in a transaction can be lost although it commits, because the store does not answer at that moment."""

    alias: str = "default"
    """The Django database whose transactions :meth:`stage` takes part in."""

    calls: CallStore
    """The records of calls that are carried out once, which take part in the same transactions."""

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def in_transaction(self) -> bool:
        """Return whether the calling thread is inside a transaction that :meth:`stage` would take part in."""

    @abstractmethod
    def stage(self, drafts: Sequence[Draft], committed: Callable[[list[Batch]], None]) -> None:
        """Write ``drafts`` as part of the calling thread's transaction, without offsets and without a lock.

        When that transaction has committed the entries are numbered (see :meth:`sequence`), all of the transaction's
        together. ``committed`` is called in the same thread with the resulting batches: once for each portion of
        about a thousand entries, and not at all if another caller numbered these. The batches may hold other
        publishers' entries too. An error while numbering is logged, not raised: a sweep finishes the work.
        """

    @abstractmethod
    def append(self, drafts: Sequence[Draft]) -> list[Batch]:
        """Write ``drafts`` in a transaction of their own and number them.

        On return they are durable. The batches returned are what this call numbered, which may be more (entries that
        were waiting) or less (another process is numbering them this instant).
        """

    @abstractmethod
    def sequence(self, topics: Iterable[str]) -> list[Batch]:
        """Number every committed entry of ``topics`` that has no offset yet, about a thousand in each transaction."""

    @abstractmethod
    def sweep(self) -> list[Batch]:
        """Number the entries of processes that died between commit and numbering. Cheap when there are none."""

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def heads(self, topics: Collection[str]) -> Mapping[str, Head]:
        """Return the state of each of ``topics``.

        A topic without an entry yet has offset 0 and an epoch, which every process computes alike and which the first entry
        keeps (:mod:`.epochs`). Nothing is stored for it: a client may join any number of topics.
        """

    @abstractmethod
    def read(self, topic: str, after: Position, limit: int, size: int | None = None) -> list[Entry]:
        """Return up to ``limit`` entries after a position, in order, without holes.

        With ``size``, the result ends with the entry at which its payloads reach so many bytes, if ``limit`` does not end it
        before. So it holds less than ``size`` bytes and one payload more, and it is empty only where the log ends. A store
        reads about that much, not ``limit`` entries of any size.

        Raises :class:`Trimmed` when the first of them is gone, or when the epoch is not the topic's; and
        :class:`Diverged` when the position is beyond the head, or its stamp is not that of the entry there.
        """

    @abstractmethod
    def rotate_epoch(self, topic: str, position: Position | None = None) -> Head:
        """Give the topic a new epoch, because its log went back in time; return the state after that.

        With a ``position`` that the log once had, change the epoch only if the log has the position no more (:meth:`read` would
        raise), and only if the position's epoch is still the topic's: of several callers that notice at once, one changes it.
        Without a position, always change it: for operators who restored a backup. A position that a client sent is no
        reason to call this.
        """

    def renew_first_epochs(self) -> None:  # noqa: B027 - a log may have none
        """Give every topic without an entry another epoch: for operators who restored a backup, in which topics are missing that
        clients know."""

    @abstractmethod
    def consistent_read(
        self, topic: str, take: Callable[[], T], numbered: Callable[[list[Batch]], None] | None = None
    ) -> tuple[Position, T]:
        """Call ``take`` and return its value with the position that agrees with it exactly.

        ``take`` must change nothing, and may be called more than once. Entries that had to be numbered on the way are
        passed to ``numbered``, in the calling thread, for the caller to broadcast.

        What ``take`` reads (in the same store, in the calling thread) holds the effects of every transaction whose
        events have offsets up to the position, and of no other that published to the topic.
        """

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def trim(
        self, topic: str, *, before: datetime | None = None, count: int | None = None, dry_run: bool = False
    ) -> int:
        """Remove entries written ``before`` a time and all but the newest ``count``; return the number removed.

        Offsets already given out are never given out again, also when nothing is left. With ``dry_run`` nothing is
        removed; return how many would be.
        """

    @abstractmethod
    def topics(self) -> list[str]:
        """The names of all topics that ever had an entry."""

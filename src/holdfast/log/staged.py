"""Drafts that a transaction staged, held until it commits, for logs that are not in its database.

Django has no hook for a rollback, but it drops the callbacks that were to run on commit. So staged drafts are held by weak
references: those that are still alive when the first callback runs have been committed.
"""

import weakref
from collections.abc import Callable, Collection, Iterator, Sequence

from django.db import connections

from .base import Batch, Draft
from .transactions import when_committed

Committed = Callable[[list[Batch]], None]

AT_ONCE = 1000
"""Drafts that are written together, about."""

NAMED = 5
"""How many topics a log message names."""


class StagedDrafts:
    """The drafts that one call staged. The callback on commit has the only strong reference to them."""

    __slots__ = ("__weakref__", "committed", "drafts", "written")

    def __init__(self, drafts: Sequence[Draft], committed: Committed) -> None:
        self.drafts = tuple(drafts)
        self.committed = committed
        self.written = False


class StagingArea:
    """The staged of the transactions on one database. ``write`` writes drafts and reports the batches that came of it."""

    def __init__(self, alias: str, write: Callable[[Sequence[Draft], Committed], None]) -> None:
        self._alias = alias
        self._write = write

    def add(self, drafts: Sequence[Draft], committed: Committed) -> None:
        """Write ``drafts`` if the calling thread's transaction commits, together with the others of that transaction."""
        connection = connections[self._alias]
        staged: list[weakref.ref[StagedDrafts]] = connection.__dict__.setdefault("_holdfast_staged", [])
        if not connection.run_on_commit:  # what is there is an earlier transaction's
            staged = connection.__dict__["_holdfast_staged"] = []
        one = StagedDrafts(drafts, committed)
        staged.append(weakref.ref(one))

        def write_all() -> None:
            """Write all drafts of the transaction in the first callback that runs, unless an error ends it early."""
            if not one.written:
                found = [other for reference in staged if (other := reference()) and not other.written]
                for drafts, committed in portions(found):
                    self._write(drafts, committed)

        when_committed(write_all, self._alias)


def portions(staged: Sequence[StagedDrafts]) -> Iterator[tuple[list[Draft], Committed]]:
    """Put neighbouring staged together that are reported to the same callable, and mark them as written."""
    drafts: list[Draft] = []
    committed: Committed | None = None
    for one in staged:
        if committed is not None and (one.committed != committed or len(drafts) >= AT_ONCE):
            yield drafts, committed
            drafts = []
        one.written = True
        committed = one.committed
        drafts += one.drafts
    if committed is not None:
        yield drafts, committed


def listed(topics: Collection[str]) -> str:
    """The names for a log message: the first few, and how many more there are."""
    first = ", ".join(sorted(topics)[:NAMED])
    return first if len(topics) <= NAMED else f"{first} and {len(topics) - NAMED} more topics"

"""What must not be inherited by a forked process.

A child has the parent's locks (perhaps locked for ever), queues (which the parent will carry itself), loops (whose
threads do not run in it) and sockets. Objects that hold such things put themselves here and start anew in the child.
"""

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    def start_anew(self) -> None:
        """Forget, without closing or calling anything, what belongs to the parent."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def start_anew_after_fork(thing: Inherited) -> None:
    """Call ``thing.start_anew()`` in every forked child, as long as ``thing`` lives."""
    _inherited.add(thing)


def _in_child() -> None:
    for thing in list(_inherited):
        thing.start_anew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_in_child)

"""Reset of objects that a forked process must not inherit.

A child has the parent's locks (perhaps locked for ever), queues (which the parent sends itself), loops (whose threads do
not run in the child) and sockets. Objects that hold such things register here and are reset in the child.
"""

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    def reset_in_child(self) -> None:
        """Forget everything that belongs to the parent, without closing or calling it."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def reset_after_fork(thing: Inherited) -> None:
    """Call ``thing.reset_in_child()`` in every forked child, as long as ``thing`` lives."""
    _inherited.add(thing)


def _in_child() -> None:
    for thing in list(_inherited):
        thing.reset_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_in_child)

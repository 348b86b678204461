"""A library that hooks ``atomic`` like django-cacheops.

It keeps a stack of open blocks for each thread. The outermost block registers an ``on_commit`` callback when it is entered,
and the callback expects that the block has ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.transaction import Atomic, on_commit


class Stack(list[list[str]]):
    """Open blocks, each with the callbacks that wait for its end."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def begin(self) -> None:
        self.append([])

    def commit(self) -> None:
        waiting = self.pop()
        (self[-1] if self else self.done).extend(waiting)

    def push(self, what: str) -> None:
        self[-1].append(what)


@contextmanager
def hooked() -> Iterator[Stack]:
    """Install the library for the length of the block."""
    stack, enter, leave = Stack(), Atomic.__enter__, Atomic.__exit__

    def entered(self: Atomic) -> None:
        outermost = not stack
        stack.begin()
        enter(self)
        if outermost:
            on_commit(stack.commit, self.using)

    def left(self: Atomic, kind: Any, error: Any, traceback: Any) -> None:
        leave(self, kind, error, traceback)
        if kind is None and stack:
            stack.commit()
        elif kind is not None:
            stack.pop()

    with mock.patch.multiple(Atomic, __enter__=entered, __exit__=left):
        yield stack

"""A library that hooks ``atomic``, of the shape of django-cacheops: it keeps a stack of open blocks for each thread, and the
outermost one registers an ``on_commit`` callback as it is entered. The callback counts on its block having ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.transaction import Atomic, on_commit


class Stack(list[list[str]]):
    """Blocks that are open, each with what waits for its end."""

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
    """While the library is installed."""
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

"""The databases that tests run on.

A test's `django_db` marker names the aliases that it uses, and a run creates the databases of its selected tests
only. So a server is started exactly when some selected test names an alias that needs it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

import pytest
from django.db import connections
from django.test import testcases

P = ParamSpec("P")
T = TypeVar("T")

#: For `params=` or `parametrize`: each kind of database as its alias, with real transactions and migrations run.
EACH_DATABASE = [
    pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]), id=alias)
    for alias in ("sqlite", "postgres")
]


def aliases_of(items: Iterable[pytest.Item]) -> set[str]:
    """The aliases that `items` use, by their markers and by `databases` of Django's test case classes."""
    aliases = {"default"}
    for item in items:
        marker = item.get_closest_marker("django_db")
        named = marker.kwargs.get("databases") if marker else None
        if named is None:
            named = getattr(getattr(item, "cls", None), "databases", None)
        aliases.update(connections if named == "__all__" else named or ())
    return aliases


def allow_all_again() -> None:
    """Remove the wrappers that Django put on the connections that a test may not use.

    pytest-django leaves them there when the test's own clean-up fails, and every later test of the process would fail.
    """
    refusal = testcases._DatabaseFailure  # type: ignore[attr-defined]
    for connection in connections.all(initialized_only=True):
        for name in [name for name, method in vars(connection).items() if isinstance(method, refusal)]:
            while isinstance(method := getattr(connection, name), refusal):
                setattr(connection, name, method.wrapped)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As ``asyncio.to_thread``, for work on databases: it has connections of its own, which are closed at its end.

    The thread of an executor keeps them otherwise, and the garbage collector finds them during another test.
    """

    def run() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


def in_threads(work: Sequence[Callable[[], object]], *, seconds: float = 30) -> list[object]:
    """Run all of `work` at once, each in a thread with database connections of its own, and return their results.

    The threads set off together. The first exception is raised here, after all have ended; a thread that has
    not ended after `seconds` fails the test.
    """
    results: list[object] = [None] * len(work)
    errors: list[BaseException] = []
    together = threading.Barrier(len(work))

    def run(index: int) -> None:
        try:
            together.wait(seconds)
            results[index] = work[index]()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(index,), name=f"in_threads-{index}", daemon=True)
        for index in range(len(work))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    if errors:
        raise errors[0]
    stuck = [thread.name for thread in threads if thread.is_alive()]
    if stuck:
        pytest.fail(f"still running after {seconds:g} s: {', '.join(stuck)}")
    return results

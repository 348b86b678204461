"""What waits for a commit that, in Django's ``TestCase``, never comes.

A ``TestCase`` (and pytest-django's ``db``) keeps one transaction open around the test and rolls it back, so nothing
ever commits there, and nothing that was published would ever be delivered. So whenever the test's own transaction is
the only one open, what was registered with ``on_commit`` is run, as it would be after a commit. What a rolled back
savepoint took away is not run, because Django has taken it away; and while an ``atomic()`` of the application or of the
test is open, nothing is.

Some libraries (django-cacheops is one) put code of their own around every ``atomic()``, and register a callback as the
outermost block is entered. Here that is the test's own block, which is still open: such a callback waits for its end.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic

from holdfast.log.base import Log
from holdfast.log.database import DatabaseLog
from holdfast.models import Outbox

logger = logging.getLogger("holdfast.testing")

Hook = Callable[[], object]


def done() -> None:
    """Stands where a callback stood that has been run, so that ``captureOnCommitCallbacks`` counts as it should."""


class OnCommitRunner:
    """Runs, for one test, each ``on_commit`` callback once. To be used in the thread that has the transaction."""

    def __init__(self) -> None:
        self._ran: list[
            Hook
        ] = []  # what was registered for the whole class (setUpTestData) and has run in this test

    def run(self) -> None:
        """Run what would have run by now if the test's transaction were not there.

        As after a commit: an error in a callback is raised, unless it was registered as robust.
        """
        for connection in connections.all(initialized_only=True):
            while in_test_transaction(connection) and (due := list(self._due(connection))):
                for hook, robust in due:
                    _call(hook, robust)

    def _due(self, connection: BaseDatabaseWrapper) -> Iterator[tuple[Hook, bool]]:
        registered = hooks(connection)
        hooking = modules_that_hook(connection)
        for index, (savepoints, hook, robust) in enumerate(registered):
            if hook is done or module_of(hook) in hooking:
                continue
            if of_the_test(connection, savepoints):
                registered[index] = (savepoints, done, robust)
            elif any(hook is ran for ran in self._ran):
                continue
            else:
                self._ran.append(hook)  # its effects roll back with this test: the next one needs them again
            yield hook, robust


def _call(hook: Hook, robust: bool) -> None:
    try:
        hook()
    except Exception:
        if not robust:
            raise
        logger.exception("a robust on_commit callback failed: %r", hook)


def hooks(connection: BaseDatabaseWrapper) -> list[tuple[set[str], Hook, bool]]:
    """What is registered: in which savepoints, what, and whether an error in it is only logged."""
    registered: Any = connection.run_on_commit
    return registered  # type: ignore[no-any-return]


def modules_that_hook(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """The modules, other than Django's, whose code runs as the test's blocks are entered or left."""
    blocks: Any = connection.atomic_blocks
    methods = (
        vars(kind)[name]
        for kind in {kind for block in blocks for kind in type(block).__mro__}
        for name in ("__enter__", "__exit__")
        if name in vars(kind)
    )
    return frozenset(map(module_of, methods)) - {Atomic.__module__, ContextDecorator.__module__}


def module_of(function: Any) -> str:
    """Where a function is defined, whatever it was made to look like (``functools.wraps``)."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    found: str = getattr(function, "__globals__", {}).get("__name__") or type(function).__module__
    return found


def in_test_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is the transaction of a ``TestCase`` open on this connection, and no other inside it?"""
    blocks: Any = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)


def any_in_test_transaction() -> bool:
    """Does the calling thread have a connection with the transaction of a ``TestCase``?"""
    return any(map(in_test_transaction, connections.all(initialized_only=True)))


def held_back() -> bool:
    """Does anything wait for the end of an ``atomic()`` that is open in the calling thread?"""
    return any(
        not in_test_transaction(connection) and any(_waits(connection))
        for connection in connections.all(initialized_only=True)
    )


def _waits(connection: BaseDatabaseWrapper) -> Iterator[bool]:
    hooking = modules_that_hook(connection)
    for savepoints, hook, _ in hooks(connection):
        yield hook is not done and of_the_test(connection, savepoints) and module_of(hook) not in hooking


def of_the_test(connection: BaseDatabaseWrapper, savepoints: set[str]) -> bool:
    """Was a callback with these savepoints registered in the test, and not for its whole class? A test of a ``TestCase``
    begins with a savepoint in the block of its class."""
    blocks: Any = connection.atomic_blocks
    ids: Any = connection.savepoint_ids
    return not ids or not blocks[0]._from_testcase or ids[0] in savepoints


def number_what_waits(log: Log) -> None:
    """Give offsets to what was published before the test began, in ``setUpTestData`` for example."""
    if isinstance(log, DatabaseLog) and in_test_transaction(connections[log.alias]):
        log.sequence(Outbox.objects.using(log.alias).values_list("topic", flat=True).distinct())

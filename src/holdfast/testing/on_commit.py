"""Runs ``on_commit`` callbacks inside Django's ``TestCase``, whose transaction never commits.

A ``TestCase`` (and pytest-django's ``db``) keeps one transaction open around the test and rolls it back. No commit happens,
so no published event would ever be delivered. Therefore, whenever the test's own transaction is the only one open, the
callbacks that were registered with ``on_commit`` run, as they would after a commit. Callbacks of a savepoint that was
rolled back do not run, because Django has removed them. While an ``atomic()`` of the application or of the test is open,
no callback runs.

Some libraries (django-cacheops is one) put their own code around every ``atomic()``, and register a callback when the
outermost block is entered. In a test that is the test's own block, which is still open: such a callback waits for its end.
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
    """Takes the place of a callback that has run, so that ``captureOnCommitCallbacks`` counts correctly."""


class OnCommitRunner:
    """Runs each ``on_commit`` callback of one test once. Use it in the thread that has the transaction."""

    def __init__(self) -> None:
        # Callbacks of the whole class (setUpTestData) that have run in this test.
        self._ran: list[Hook] = []

    def run(self) -> None:
        """Run the callbacks that only the test's own transaction holds back.

        As after a commit, an error in a callback is raised, unless the callback was registered as robust.
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
                self._ran.append(hook)  # its effects roll back with this test, so it runs again in the next
            yield hook, robust


def _call(hook: Hook, robust: bool) -> None:
    try:
        hook()
    except Exception:
        if not robust:
            raise
        logger.exception("a robust on_commit callback failed: %r", hook)


def hooks(connection: BaseDatabaseWrapper) -> list[tuple[set[str], Hook, bool]]:
    """Return the registered callbacks: their savepoints, the callback, and whether its errors are only logged."""
    registered: Any = connection.run_on_commit
    return registered  # type: ignore[no-any-return]


def modules_that_hook(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the modules, other than Django's, whose code runs when the test's blocks are entered or left."""
    blocks: Any = connection.atomic_blocks
    methods = (
        vars(kind)[name]
        for kind in {kind for block in blocks for kind in type(block).__mro__}
        for name in ("__enter__", "__exit__")
        if name in vars(kind)
    )
    return frozenset(map(module_of, methods)) - {Atomic.__module__, ContextDecorator.__module__}


def module_of(function: Any) -> str:
    """Return the module that defines a function, also behind ``functools.wraps`` and ``partial``."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    found: str = getattr(function, "__globals__", {}).get("__name__") or type(function).__module__
    return found


def in_test_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Is the transaction of a ``TestCase`` open on this connection, without another one inside it?"""
    blocks: Any = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)


def any_in_test_transaction() -> bool:
    """Has the calling thread a connection with the transaction of a ``TestCase``?"""
    return any(map(in_test_transaction, connections.all(initialized_only=True)))


def held_back() -> bool:
    """Does any callback wait for the end of an ``atomic()`` that is open in the calling thread?"""
    return any(
        not in_test_transaction(connection) and any(_waits(connection))
        for connection in connections.all(initialized_only=True)
    )


def _waits(connection: BaseDatabaseWrapper) -> Iterator[bool]:
    hooking = modules_that_hook(connection)
    for savepoints, hook, _ in hooks(connection):
        yield hook is not done and of_the_test(connection, savepoints) and module_of(hook) not in hooking


def of_the_test(connection: BaseDatabaseWrapper, savepoints: set[str]) -> bool:
    """Was a callback with these savepoints registered in the test, and not for its whole class?

    A test of a ``TestCase`` begins with a savepoint in the block of its class.
    """
    blocks: Any = connection.atomic_blocks
    ids: Any = connection.savepoint_ids
    return not ids or not blocks[0]._from_testcase or ids[0] in savepoints


def number_staged_events(log: Log) -> None:
    """Number the events that were published before the test began, in ``setUpTestData`` for example."""
    if isinstance(log, DatabaseLog) and in_test_transaction(connections[log.alias]):
        log.sequence(Outbox.objects.using(log.alias).values_list("topic", flat=True).distinct())

"""The caller's transaction on one database, and how to take part in it without breaking it.

A transaction is open inside ``atomic()``, and after ``set_autocommit(False)``, where the caller commits and rolls back by
hand. Django refuses ``on_commit`` in the second case. A block that Django takes for the caller's makes it work: the
callbacks then run when the caller turns autocommit on again, after the commit.
"""

import contextlib
from collections.abc import Callable, Iterator

from django.db import connections, transaction


def is_open(alias: str) -> bool:
    """Return whether the calling thread is inside a transaction on this database."""
    connection = connections[alias]
    if connection.connection is None:
        # get_autocommit() would connect, which fails in its own way when the database is away.
        return connection.in_atomic_block or not connection.settings_dict["AUTOCOMMIT"]
    return connection.in_atomic_block or not connection.autocommit


def taking_part(alias: str) -> contextlib.AbstractContextManager[None]:
    """Context for work in the open transaction that the caller asked for. An error in it marks the transaction for rollback, as an
    error in ``Model.save()`` does: PostgreSQL would answer the commit of a failed transaction with a silent rollback."""
    if connections[alias].in_atomic_block:
        return transaction.mark_for_rollback_on_error(using=alias)
    return transaction.atomic(using=alias, savepoint=False)


@contextlib.contextmanager
def apart(alias: str) -> Iterator[None]:
    """Context for work that the caller did not ask for. An error in it leaves the open transaction as it was, by a savepoint; without
    a transaction there is nothing to protect."""
    connection = connections[alias]
    if not is_open(alias):
        yield
    elif connection.in_atomic_block or connection.vendor != "sqlite":
        with transaction.atomic(using=alias):
            yield
    else:
        # SQLite, by hand: a savepoint before the first write would be a transaction, and its release a commit. A statement
        # that fails there has no effect on others, so only Django's mark has to go.
        marked = connection.needs_rollback
        try:
            yield
        except Exception:
            connection.needs_rollback = marked
            raise


def will_roll_back(alias: str) -> bool:
    """Return whether the open transaction can only roll back, because of an error in the caller's code."""
    return is_open(alias) and connections[alias].needs_rollback


def when_committed(hook: Callable[[], object], alias: str) -> None:
    """Call ``hook`` after the commit of the open transaction, or now if none is open. Django logs what it raises after a
    commit; what it raises now is the caller's to handle."""
    if not is_open(alias):
        hook()
    elif connections[alias].in_atomic_block:
        transaction.on_commit(hook, using=alias, robust=True)
    else:
        with transaction.atomic(using=alias, savepoint=False):
            transaction.on_commit(hook, using=alias, robust=True)

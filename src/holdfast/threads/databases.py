"""The database connections of a worker thread, between two pieces of work.

Django keeps one connection object (``DatabaseWrapper``) for each thread and alias, and never replaces it: whatever a request
sets on it, such as a tenant's schema, stays for the next one in that thread. Under ASGI each request has a thread of its own,
so there it makes no difference. Worker threads serve one handler after the other, so here it does.
"""

import time
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

IDLE_SECONDS = 10.0
"""A kept connection that was unused for longer is asked whether it still works: a pooler or a firewall may have cut it."""


def pooled(connection: BaseDatabaseWrapper) -> bool:
    """Does the connection come from a pool of Django's (``OPTIONS["pool"]``), to which it has to go back?"""
    return bool(connection.settings_dict.get("OPTIONS", {}).get("pool"))


def begin_again() -> None:
    """Between two handlers: Django's rule for the end of a request (``CONN_MAX_AGE``), and nothing that was set stays.

    A transaction that a handler left open is rolled back with its connection.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()
        if connection.in_atomic_block or (connection.connection is None and not _as_new(connection)):
            del connections[
                connection.alias
            ]  # the next handler gets a new object, as it would in a new thread
        elif connection.connection is not None:
            _forget_tenant(connection)


def forget() -> None:
    """Between two handlers of one visit, which use the same connections: nothing that was set stays."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
            del connections[connection.alias]
        else:
            _forget_tenant(connection)


def give_back() -> None:
    """Between two pieces of one handler's work: no other thread waits for a connection that is not in use."""
    for connection in connections.all(initialized_only=True):
        if pooled(connection) and not _in_use(connection):
            connection.close()


def keep() -> None:
    """Between two pieces of work of a thread that keeps its connections, for speed.

    Those that broke are dropped, and those that are older than a ``CONN_MAX_AGE`` above 0. A pool gets its connections back:
    threads that kept them would starve the rest of the process.
    """
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        if connection.errors_occurred or pooled(connection) or _too_old(connection, now):
            connection.close()
            connection.errors_occurred = False
        elif connection.connection is not None:
            _forget_tenant(connection)


def wake(unused_since: float) -> None:
    """Before a piece of work in such a thread: let Django look at each connection that may have been cut, before its first
    query. With ``CONN_HEALTH_CHECKS`` it always looks, otherwise after :data:`IDLE_SECONDS`."""
    idle = time.monotonic() - unused_since > IDLE_SECONDS
    connection: Any  # Django's types do not know of the two
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.health_check_done = False
            connection.health_check_enabled = idle or connection.settings_dict["CONN_HEALTH_CHECKS"]


def at_rest() -> bool:
    """Could another handler use this thread now, with nothing lost of what the present one has begun or set in it?"""
    return all(
        _is_djangos(connection) and not _in_use(connection)
        for connection in connections.all(initialized_only=True)
    )


def _as_new(connection: BaseDatabaseWrapper) -> bool:
    """Without a connection to the database, is the object like a new one? Creating it takes some 50 µs."""
    return _is_djangos(connection) and not _in_use(connection)


def _is_djangos(connection: BaseDatabaseWrapper) -> bool:
    """Is the object of a class of Django's, on which there is nothing for a handler to set?"""
    return type(connection).__module__.startswith("django.")


def _in_use(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open, or may a cursor be (which PostgreSQL keeps on its side, for ``aiterator()``)?"""
    return connection.in_atomic_block or getattr(connection, "_named_cursor_idx", 0) > 0


def _too_old(connection: BaseDatabaseWrapper, now: float) -> bool:
    return bool(connection.settings_dict["CONN_MAX_AGE"]) and now >= (connection.close_at or now + 1)


def _forget_tenant(connection: BaseDatabaseWrapper) -> None:
    """A connection that stays open goes back to the shared schema, where its backend knows schemas (django-tenants)."""
    reset = getattr(connection, "set_schema_to_public", None)
    if reset is not None:
        reset()

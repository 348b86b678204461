"""Database connections of a worker thread, between two pieces of work.

Django keeps one connection object (``DatabaseWrapper``) for each thread and alias, and never replaces it. What a request
sets on it, such as a tenant's schema, stays for the next one in that thread. Under ASGI each request has its own thread, so
it makes no difference there. Worker threads serve one handler after another, so it does here.
"""

import time
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

IDLE_SECONDS = 10.0
"""Seconds after which an unused connection is tested before use: a pooler or a firewall may have cut it."""


def pooled(connection: BaseDatabaseWrapper) -> bool:
    """Does the connection belong to one of Django's pools (``OPTIONS["pool"]``), to which it has to go back?"""
    return bool(connection.settings_dict.get("OPTIONS", {}).get("pool"))


def begin_again() -> None:
    """Clean up between two handlers: apply Django's rule for the end of a request (``CONN_MAX_AGE``), and undo what was set.

    A transaction that a handler left open is rolled back with its connection.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()
        if connection.in_atomic_block or (connection.connection is None and not _as_new(connection)):
            # The next handler gets a new object, as it would in a new thread.
            del connections[connection.alias]
        elif connection.connection is not None:
            _forget_tenant(connection)


def forget() -> None:
    """Undo what was set between two handlers that run in the same visit to a thread, with the same connections."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            connection.close()
            del connections[connection.alias]
        else:
            _forget_tenant(connection)


def give_back() -> None:
    """Give pooled connections back between two pieces of one handler's work, so that no other thread waits for them."""
    for connection in connections.all(initialized_only=True):
        if pooled(connection) and not _in_use(connection):
            connection.close()


def keep() -> None:
    """Clean up between two pieces of work in a thread that keeps its connections, for speed.

    Closes connections that broke, and those that are older than a ``CONN_MAX_AGE`` above 0. A pool gets its connections
    back: threads that kept them would starve the rest of the process.
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
    """Prepare a piece of work in such a thread: let Django test each connection that may have been cut, before its first
    query. With ``CONN_HEALTH_CHECKS`` it always does, otherwise after :data:`IDLE_SECONDS`."""
    idle = time.monotonic() - unused_since > IDLE_SECONDS
    connection: Any  # Django's types do not know of the two
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.health_check_done = False
            connection.health_check_enabled = idle or connection.settings_dict["CONN_HEALTH_CHECKS"]


def at_rest() -> bool:
    """Could another handler use this thread now, without the present one losing anything it has begun or set in it?"""
    return all(
        _is_djangos(connection) and not _in_use(connection)
        for connection in connections.all(initialized_only=True)
    )


def _as_new(connection: BaseDatabaseWrapper) -> bool:
    """Is the object, without a connection to the database, like a new one? Creating one takes some 50 µs."""
    return _is_djangos(connection) and not _in_use(connection)


def _is_djangos(connection: BaseDatabaseWrapper) -> bool:
    """Is the object of one of Django's classes, which have nothing that a handler could set?"""
    return type(connection).__module__.startswith("django.")


def _in_use(connection: BaseDatabaseWrapper) -> bool:
    """Is a transaction open, or perhaps a cursor on PostgreSQL's side, for ``aiterator()``?"""
    return connection.in_atomic_block or getattr(connection, "_named_cursor_idx", 0) > 0


def _too_old(connection: BaseDatabaseWrapper, now: float) -> bool:
    return bool(connection.settings_dict["CONN_MAX_AGE"]) and now >= (connection.close_at or now + 1)


def _forget_tenant(connection: BaseDatabaseWrapper) -> None:
    """Set a connection that stays open back to the shared schema, if its backend knows schemas (django-tenants)."""
    reset = getattr(connection, "set_schema_to_public", None)
    if reset is not None:
        reset()

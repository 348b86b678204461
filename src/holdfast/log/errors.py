"""What the database's errors mean to those who use a log."""

from types import TracebackType

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import LogUnavailable, NotMigrated
from .routing import refusing_router
from .transactions import is_open


class ErrorTranslation:
    """Turn errors of a connection into the log's own, the cause chained.

    Not inside the application's transaction: there Django's error must pass, so that ``atomic()`` and whoever catches
    ``DatabaseError`` see what they expect. Only missing tables are named everywhere.
    """

    __slots__ = ("_connection", "_outside", "_watching")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._outside = not is_open(connection.alias)
        self._watching = True

    def off(self) -> None:
        """From here on errors are not the log's."""
        self._watching = False

    def __enter__(self) -> "ErrorTranslation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or not self._watching:
            return
        if isinstance(error, DatabaseError) and is_not_migrated(error):
            raise NotMigrated(
                f"the tables of Holdfast's log are not all in the database {self._connection.alias!r}: {self._way_out()}"
            ) from error
        if not self._outside:
            return
        if is_read_only(error):
            self._connection.close()  # it works, and leads to a server that was the primary; the next one may not
        elif isinstance(error, OperationalError | InterfaceError):
            # A connection that broke would stay broken in a thread that no request passes through.
            self._connection.close_if_unusable_or_obsolete()
        else:
            return
        raise LogUnavailable(
            f"the log's database {self._connection.alias!r} does not answer: {error}"
        ) from error

    def _way_out(self) -> str:
        alias = self._connection.alias
        if (refusing := refusing_router(alias)) is not None:
            return f"the router {refusing} keeps them out; `python manage.py check` says what to do"
        option = "" if alias == "default" else f" --database {alias}"
        return f"run `python manage.py migrate holdfast{option}`"


def is_not_migrated(error: DatabaseError) -> bool:
    """Is a table or a function not there? By SQLite's words, or by PostgreSQL's code."""
    if "no such table: holdfast_" in str(error):
        return True
    return getattr(error.__cause__, "sqlstate", None) in {"42P01", "42883"} and "holdfast_" in str(error)


def is_read_only(error: BaseException) -> bool:
    """Is this a PostgreSQL server that takes no writes, such as one that has been a replica since a failover?"""
    return getattr(error.__cause__, "sqlstate", None) == "25006"

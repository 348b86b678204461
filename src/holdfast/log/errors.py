"""Translation of database errors into the errors of the log."""

from types import TracebackType

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import LogUnavailable, NotMigrated
from .routing import refusing_router
from .transactions import is_open


class ErrorTranslation:
    """Context that raises the log's errors for those of a connection, with the cause chained.

    Inside the application's transaction Django's error passes, because ``atomic()`` and the application's ``except DatabaseError``
    expect it. Only missing tables are translated everywhere.
    """

    __slots__ = ("_connection", "_outside", "_watching")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._outside = not is_open(connection.alias)
        self._watching = True

    def off(self) -> None:
        """Stop translating: later errors come from the application's code."""
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
            self._connection.close()  # it leads to a server that used to be the primary; a new connection may reach the new one
        elif isinstance(error, OperationalError | InterfaceError):
            # Django replaces a broken connection between requests; this thread may serve none.
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
    """Return whether a table or function is missing, by SQLite's message or PostgreSQL's error code."""
    if "no such table: holdfast_" in str(error):
        return True
    return getattr(error.__cause__, "sqlstate", None) in {"42P01", "42883"} and "holdfast_" in str(error)


def is_read_only(error: BaseException) -> bool:
    """Return whether a PostgreSQL server takes no writes, such as one that became a replica in a failover."""
    return getattr(error.__cause__, "sqlstate", None) == "25006"

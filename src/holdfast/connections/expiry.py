"""Expiry of credentials, as the timer wheel checks it."""

from typing import Protocol


class Checked(Protocol):
    """A connection that the wheel checks."""

    def check(self, now: float) -> float | None: ...


class ExpiryCheck:
    """One extra check of a connection: its new credential expires before its next regular check.

    The regular checks go on, because the wheel keeps an entry for each.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Checked) -> None:
        self._connection = connection

    def check(self, now: float) -> None:
        self._connection.check(now)

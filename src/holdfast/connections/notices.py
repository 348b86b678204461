"""Notices: what happens at the boundary, as Django signals and structured log records.

A notice says who (transport, connection, user, address) and what (code, topic, limit, times), in plain values. None carries a
token, a ticket, a payload, a query string or a cookie. All are sent on the event loop's thread.
"""

import logging
from typing import Any, NamedTuple

from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal

from holdfast.process.limited_log import log_limited, place_of

logger = logging.getLogger("holdfast.connections")

RECEIVER_FAILED = "a receiver of the signal %s failed: %s; nothing else is affected"


class NoticeSignal(Signal):
    """A signal whose receivers run on the event loop. A receiver that raises disturbs neither the connection nor other receivers."""

    def connect(self, receiver: Any, sender: Any = None, weak: bool = True, dispatch_uid: Any = None) -> None:
        """As Django's. Raises ``TypeError`` for an ``async def`` receiver, which a signal sent on the event loop cannot wait for."""
        if iscoroutinefunction(receiver) or iscoroutinefunction(getattr(receiver, "__call__", None)):  # noqa: B004
            raise TypeError(
                f"{receiver!r} is an async function, and Holdfast's signals are sent on the event loop, which cannot wait for it. "
                "Connect a def function, and let that start a task: asyncio.get_running_loop().create_task(…)."
            )
        super().connect(receiver, sender, weak, dispatch_uid)

    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        """Log nothing here: Django would write one traceback for each failure, and clients cause as many as they like."""


class Peer(NamedTuple):
    """The client that a notice is about. ``connection_id`` and ``user_id`` are ``None`` before they are known."""

    transport: str
    address: str | None
    connection_id: str | None = None
    user_id: str | None = None


class Notice:
    """One kind of notice: its signal, its logger, and the text of its log record, whose arguments are the values ``shown``.

    ``limit_by`` names the value that tells records of this kind apart: of each, one is logged in a second, with the number of
    those left out. ``None``: all are logged.
    """

    __slots__ = ("_level", "_limit_by", "_logger", "_name", "_shown", "_text", "signal")

    def __init__(self, name: str, level: int, text: str, *shown: str, limit_by: str | None = None) -> None:
        self.signal = NoticeSignal()
        self._name = name
        self._logger = logging.getLogger(f"holdfast.connections.{name.removeprefix('connection_')}")
        self._level = level
        self._text = text
        self._shown = shown
        self._limit_by = limit_by

    @property
    def wanted(self) -> bool:
        """Whether there is a receiver, or the record would be logged. Ask before the values are collected."""
        return bool(self.signal.receivers) or self._logger.isEnabledFor(self._level)

    def send(self, peer: Peer, **values: Any) -> None:
        """Send the signal and log the record. Raises nothing."""
        values = peer._asdict() | values
        if self.signal.receivers:
            for receiver, result in self.signal.send_robust(None, **values):
                if isinstance(result, Exception):
                    log_limited(
                        logger,
                        logging.ERROR,
                        (receiver, place_of(result)),
                        RECEIVER_FAILED,
                        self._name,
                        result,
                        error=result,
                    )
        if not self._logger.isEnabledFor(self._level):
            return
        shown = [values[name] for name in self._shown]
        extra = {f"holdfast_{name}": value for name, value in values.items()} | {
            "holdfast_notice": self._name
        }
        if self._limit_by is None:
            self._logger.log(self._level, self._text, *shown, extra=extra)
        else:
            kind = (self._name, values[self._limit_by])
            log_limited(self._logger, self._level, kind, self._text, *shown, extra=extra)


ACCEPTED = Notice(
    "connection_accepted",
    logging.INFO,
    "connection %s accepted: %s, user %s, address %s",
    "connection_id",
    "transport",
    "user_id",
    "address",
)
"""A connection has begun."""

REFUSED = Notice(
    "connection_refused",
    logging.WARNING,
    "connection refused with %s: %s, user %s, address %s",
    "code",
    "transport",
    "user_id",
    "address",
    limit_by="code",
)
"""A handshake, or a request that would have opened a connection or made a call, was refused. ``code``; the HTTP ``status`` or
the ``close_code``; ``retry_after`` seconds. Those that do not apply are ``None``."""

CLOSED = Notice(
    "connection_closed",
    logging.INFO,
    "connection %s closed with %s after %.1f s: %s, user %s, address %s",
    "connection_id",
    "code",
    "duration",
    "transport",
    "user_id",
    "address",
)
"""A connection is gone. ``code`` and ``close_code`` with which the server closed it, ``None`` if the client ended it or was lost;
``duration`` in seconds; ``bytes_received`` in messages of the client; ``bytes_sent``, or ``None`` where it is not counted."""

JOIN_REFUSED = Notice(
    "join_refused",
    logging.INFO,
    "connection %s may not join %r: %s; user %s, address %s",
    "connection_id",
    "topic",
    "code",
    "user_id",
    "address",
    limit_by="code",
)
"""A join was refused: ``topic`` as the client wrote it, ``code``, and ``retry_after`` seconds or ``None``."""

LIMIT_HIT = Notice(
    "limit_hit",
    logging.WARNING,
    "limit of %s hit: connection %s, %s, user %s, address %s",
    "limit",
    "connection_id",
    "transport",
    "user_id",
    "address",
    limit_by="limit",
)
"""Something was refused because it was beyond a ``limit``. ``topic`` if it has one; ``retry_after`` seconds or ``None``."""

EVICTED = Notice(
    "evicted",
    logging.INFO,
    "connection %s evicted from %r: %s; user %s, address %s",
    "connection_id",
    "topic",
    "code",
    "user_id",
    "address",
    limit_by="code",
)
"""The server ended a subscription: ``topic``, and ``code``."""

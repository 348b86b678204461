"""The side of a connection that reports what happens to it (:mod:`.notices`)."""

from abc import abstractmethod

from holdfast.auth.base import Identity
from holdfast.protocol import codes
from holdfast.protocol.codes import Code
from holdfast.protocol.effects import Curb, Limited

from . import notices
from .delivery import Delivery
from .notices import Peer

CALL_LIMITS = {codes.RATE_LIMITED.name: "call_rate", codes.TOO_MANY_CALLS.name: "calls"}
"""Limits that the code of a failed call stands for."""


class Reporting(Delivery):
    """A connection that sends notices. Without a receiver and below the log's level they cost a check each."""

    __slots__ = ("_began", "_code")

    _began: float | None
    _code: Code | None
    identity: Identity

    @abstractmethod
    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> None:
        """Close the connection from the server's side."""

    @property
    def peer(self) -> Peer:
        session = self._session
        return Peer(self._transport.name, self.identity.address, session.id, session.user)

    def _begin(self, now: float, full: float) -> None:
        """Report that the connection has begun. If its user has too many, for which ``full`` is the time to wait, refuse it."""
        self._code = None
        self._began = None if full else now
        if full:
            self._refuse_user(full)
            code = codes.TOO_MANY_CONNECTIONS
            if notices.REFUSED.wanted:
                notices.REFUSED.send(
                    self.peer, code=code.name, status=None, close_code=code.close, retry_after=full
                )
        elif notices.ACCEPTED.wanted:
            notices.ACCEPTED.send(self.peer)

    def _refuse_user(self, full: float) -> None:
        """Close the connection, because its user has too many."""
        self._report_limit("connections_per_user", full)
        self.hang_up(codes.TOO_MANY_CONNECTIONS, full)

    def _report_end(self) -> None:
        """Report that the connection is gone, unless it was refused."""
        if self._began is None or not notices.CLOSED.wanted:
            return
        code = self._code
        notices.CLOSED.send(
            self.peer,
            code=None if code is None else code.name,
            close_code=None if code is None else code.close,
            duration=self._loop.time() - self._began,
            bytes_received=self._session.received,
            bytes_sent=self._transport.bytes_sent,
        )

    def _report_limit(self, limit: str, retry_after: float | None, topic: str | None = None) -> None:
        if notices.LIMIT_HIT.wanted:
            notices.LIMIT_HIT.send(self.peer, limit=limit, retry_after=retry_after, topic=topic)

    def _report_curb(self, effect: Curb) -> None:
        if isinstance(effect, Limited):
            self._report_limit(effect.what, effect.retry_after)

    def _report_eviction(self, topic: str, code: Code) -> None:
        if notices.EVICTED.wanted:
            notices.EVICTED.send(self.peer, topic=topic, code=code.name)

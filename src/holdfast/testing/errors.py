"""Errors that a live client raises when the server refuses a request."""

from holdfast.protocol.frames import ErrorPayload


class LiveError(Exception):
    """The server refused a request.

    ``code`` is a name of the catalogue (``holdfast.protocol.codes``), such as ``"forbidden"``; ``reason`` is the
    word that your code gave, with ``"refused"``; ``retry_after`` is in seconds; ``errors`` are the texts by field, with
    ``"invalid_payload"``. When the code is ``"internal"``, the exception that your code raised is the ``__cause__``.

    ::

        LiveError
        ├── JoinError       a join was refused
        ├── CallError       a call failed
        └── Disconnected    the client has no connection
    """

    def __init__(
        self,
        what: str,
        *,
        code: str,
        message: str,
        reason: str | None = None,
        retry_after: float | None = None,
        errors: dict[str, list[str]] | None = None,
    ) -> None:
        extra = "".join(
            (
                f", reason {reason!r}" if reason is not None else "",
                f", retry after {retry_after:g} s" if retry_after is not None else "",
                f", errors {errors!r}" if errors else "",
            )
        )
        super().__init__(f"{what}: {code}{extra}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_after = retry_after
        self.errors = errors or {}

    @classmethod
    def of(cls, what: str, payload: ErrorPayload) -> "LiveError":
        """Make the error for an answer of the server to ``what``."""
        return cls(
            what,
            code=payload.code,
            message=payload.message,
            reason=payload.reason,
            retry_after=payload.retry_after,
            errors=payload.errors,
        )


class JoinError(LiveError):
    """A join was refused: ``forbidden`` when there is no such topic or ``may_join`` returned false, and other codes."""


class CallError(LiveError):
    """A call failed: ``forbidden``, ``not_found``, ``refused``, ``invalid_payload``, ``rate_limited``, ``internal`` and
    others."""


class Disconnected(LiveError):
    """The client has no connection: the server closed it (with ``code``), or the test dropped it (``"dropped"``)."""

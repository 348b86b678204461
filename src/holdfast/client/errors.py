"""The error of the Python client."""

from holdfast.protocol.codes import CATALOGUE, Code
from holdfast.protocol.frames import ErrorPayload

FINAL_CLOSES = frozenset({1002, 1003, 1007, 1008})
"""Close codes that do not come from Holdfast and after which a client stays away (PROTOCOL.md, section 4)."""

_BY_CLOSE = {code.close: code for code in CATALOGUE.values() if code.close is not None}


class ClientError(Exception):
    """A join, a call or the connection failed.

    ``code`` is a name of the catalogue, or ``"connection_lost"``, ``"closed"``, ``"timeout"`` or ``"failed"`` from this client
    itself. ``failed`` means an error that no new attempt would mend, such as an option that ``websockets`` does not know; it is the
    ``__cause__``. ``reason`` is the application's own word, ``errors`` what is wrong with each argument of a call, and
    ``retry_after`` the seconds to wait.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        errors: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}" + (f" ({reason})" if reason else ""))
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.errors = errors or {}

    @classmethod
    def of(cls, payload: ErrorPayload) -> "ClientError":
        return cls(
            payload.code,
            payload.message,
            reason=payload.reason,
            retry_after=payload.retry_after,
            errors=payload.errors,
        )

    @property
    def retry(self) -> bool:
        """Whether the same message may succeed later."""
        code = CATALOGUE.get(self.code)
        return code is not None and code.retry


def is_final(close: int) -> bool:
    """Whether a client stays away after this close code."""
    return 4400 <= close < 4500 or close in FINAL_CLOSES


def code_of_close(close: int) -> Code | None:
    """Return the catalogue's code for a close code of Holdfast."""
    return _BY_CLOSE.get(close)

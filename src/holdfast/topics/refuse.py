"""``Refuse``: the exception by which an action refuses a call."""

import re

from .encoding import text_of

_REASON = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Refuse(Exception):
    """Raise it in an action to refuse a call: the caller receives the error ``refused`` with your ``reason``, and the
    transaction rolls back.

    ``reason`` is a short word for programs (``"room_full"``), ``message`` a sentence for people, ``retry_after`` the number
    of seconds after which a new attempt makes sense::

        raise Refuse("too_late", "The auction has ended.")
    """

    def __init__(self, reason: str, message: str = "", retry_after: float | None = None) -> None:
        given: object = reason
        if not isinstance(given, str) or not _REASON.fullmatch(given):
            raise ValueError(
                f"Refuse({reason!r}): the reason is a short word for programs, of a-z, 0-9, '_' and '-', such as "
                "'room_full'; put the sentence for people into message="
            )
        wait: object = retry_after
        if wait is not None and not (isinstance(wait, int | float) and 0 <= wait < float("inf")):
            raise ValueError(
                f"Refuse(retry_after={retry_after!r}): expected a number of seconds, not below zero, or None"
            )
        # Make plain values now: a lazy translation takes the language that is active in the refusing code.
        self.reason, self.message = text_of("Refuse", "reason", reason), text_of("Refuse", "message", message)
        self.retry_after = None if retry_after is None else float(retry_after)
        super().__init__(self.reason, self.message, self.retry_after)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason

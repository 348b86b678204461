"""How an application says no to a call."""

import re

_REASON = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Refuse(Exception):
    """Raise it in an action: the caller gets the error ``refused`` with your ``reason``, and the transaction rolls back.

    ``reason`` is a short word for programs (``"room_full"``), ``message`` a sentence for people, ``retry_after`` the
    number of seconds after which trying again makes sense::

        raise Refuse("too_late", "The auction has ended.")
    """

    def __init__(self, reason: str, message: str = "", retry_after: float | None = None) -> None:
        given: object = reason
        if not isinstance(given, str) or not _REASON.fullmatch(given):
            raise ValueError(
                f"Refuse({reason!r}): the reason is a short word for programs, of a-z, 0-9, '_' and '-', such as "
                "'room_full'; put the sentence for people into message="
            )
        super().__init__(reason, message, retry_after)
        self.reason, self.message, self.retry_after = reason, message, retry_after

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason

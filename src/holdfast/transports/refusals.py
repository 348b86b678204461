"""Log of refused handshakes: each reason once, in bounded memory and at a bounded rate."""

import logging

from holdfast.process.limited_log import LogLimit

REMEMBERED = 256
"""Number of reasons that are remembered as logged."""

LOGGED_AT_ONCE = 20
NEW_SECONDS = 6.0
"""Clients choose what they send. New reasons beyond this rate are not logged."""

SHOWN = 200
"""Characters of a client's text that a log line shows."""


class RefusalLog:
    """Logs reasons as warnings."""

    def __init__(self, logger: logging.Logger, now: float) -> None:
        self._logger = logger
        self.limit = LogLimit(
            seconds=float("inf"), remembered=REMEMBERED, at_once=LOGGED_AT_ONCE, new_seconds=NEW_SECONDS
        )

    def note(self, reason: str, now: float) -> None:
        """Log the reason, unless it was logged before or too many new ones came."""
        if self.limit.admit(reason, now) is not None:
            self._logger.warning("%s This is logged once.", reason)


def shown(sent: str) -> str:
    """Return a client's text for a log line: short, quoted, without control characters."""
    return repr(sent[:SHOWN])

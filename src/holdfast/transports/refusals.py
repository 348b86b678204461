"""Log of refused handshakes: each reason once, in bounded memory and at a bounded rate."""

import logging
from collections import OrderedDict

from holdfast.protocol.bucket import Bucket

REMEMBERED = 256
"""Number of reasons that are remembered as logged."""

LOGGED_AT_ONCE = 20
LOGGED_PER_SECOND = 1 / 6
"""Clients choose what they send. New reasons beyond this rate are not logged."""

SHOWN = 200
"""Characters of a client's text that a log line shows."""


class RefusalLog:
    """Logs reasons as warnings. For one event loop."""

    def __init__(self, logger: logging.Logger, now: float) -> None:
        self._logger = logger
        self._logged: OrderedDict[str, None] = OrderedDict()
        self._bucket = Bucket(LOGGED_AT_ONCE, LOGGED_PER_SECOND, now)

    def note(self, reason: str, now: float) -> None:
        """Log the reason, unless it was logged before or too many new ones came."""
        if reason in self._logged:
            self._logged.move_to_end(reason)
            return
        if self._bucket.take(now) > 0:
            return
        self._logged[reason] = None
        if len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)
        self._logger.warning("%s This is logged once.", reason)


def shown(sent: str) -> str:
    """Return a client's text for a log line: short, quoted, without control characters."""
    return repr(sent[:SHOWN])

"""The presence store's health, as one hub sees it."""

import logging

logger = logging.getLogger("holdfast.presence")


class StoreHealth:
    """Does the store answer? Each outage is logged once, at its beginning and at its end."""

    def __init__(self) -> None:
        self._away = False

    def failed(self, error: Exception) -> None:
        """Note that the store did not answer."""
        if not self._away:
            logger.warning("the presence store does not answer; rosters stand still until it does: %s", error)
        self._away = True

    def recovered(self) -> bool:
        """Note that the store answers. Return whether that ends an outage."""
        if ended := self._away:
            self._away = False
            logger.info("the presence store answers again")
        return ended

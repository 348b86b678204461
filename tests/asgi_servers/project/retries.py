"""Seconds after which event streams come back (LIVE_RETRY_SECONDS=0.1: at most these), for tests that break many of them."""

import os

from holdfast.transports import sse


def shorten_if_wanted() -> None:
    if seconds := os.environ.get("LIVE_RETRY_SECONDS"):
        sse.RETRY_SECONDS = (0.0, float(seconds))

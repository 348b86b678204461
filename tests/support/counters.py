"""Counters of a hub, compared in tests."""

import msgspec

from holdfast.hub.hub import Hub
from holdfast.metrics import Counters


def slow_counters(hub: Hub) -> Counters:
    """The hub's counters of the effects of slow clients and rates, without the number of deliveries."""
    return msgspec.structs.replace(hub.counters, events_delivered=0)

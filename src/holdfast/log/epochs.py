"""Epochs of topics: random ones, and the first one of each topic.

A topic has no row before its first event, and has an epoch all the same: clients that join it get a position at offset 0. The first
epoch is therefore computed, from the topic's name and the log's *seed*. The seed is a random text that the log stores once, so
all processes compute the same epoch, and the process that writes the first event stores that one. A log that was lost has
another seed, and so other epochs.
"""

import hashlib
import secrets


def new_epoch() -> str:
    """Return a random epoch, for a topic whose log was lost or went back in time."""
    return secrets.token_hex(4)


def new_seed() -> str:
    return secrets.token_hex(16)


def first_epoch(seed: str, topic: str) -> str:
    """Return the epoch that ``topic`` has before its first event, and keeps with it. SQL in this package computes the same."""
    return hashlib.sha256(f"{seed}:{topic}".encode()).hexdigest()[:8]

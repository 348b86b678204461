"""How long to wait before the next attempt."""

import random

_chance = random.Random()  # noqa: S311 - nothing secret
"""Not the module's own functions: threads in the background must not disturb a project that has seeded those."""


def full_jitter(attempt: int, *, first: float = 0.05, longest: float = 2.0) -> float:
    """Seconds before retry number ``attempt`` (0 is the first), at random so that a fleet does not retry in step.

    "Full jitter" of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    return _chance.uniform(0, min(longest, first * 2.0 ** min(attempt, 30)))

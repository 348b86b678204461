"""Random, growing pauses between attempts."""

import random

_chance = random.Random()  # noqa: S311 - nothing secret
"""A generator apart from the random module's: background threads must not disturb a project that has seeded that one."""


def full_jitter(attempt: int, *, first: float = 0.05, longest: float = 2.0) -> float:
    """Return the seconds to wait before retry number ``attempt`` (0 is the first). They are random, so that a fleet does not
    retry in step.

    "Full jitter" of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    return _chance.uniform(0, min(longest, first * 2.0 ** min(attempt, 30)))

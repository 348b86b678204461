"""Waits between two attempts to connect."""

from collections.abc import Callable

BASE_SECONDS = 1.0
CAP_SECONDS = 30.0


class Backoff:
    """ "Full jitter" (Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015): the wait before try n is random
    between 0 and min(cap, base · 2^n). ``chance`` returns a number from 0 to 1."""

    def __init__(
        self, chance: Callable[[], float], *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS
    ) -> None:
        self._chance = chance
        self._base = base
        self._cap = cap
        self.attempt = 0

    def next(self) -> float:
        """Return the seconds of the next wait."""
        wait = self._chance() * min(self._cap, self._base * 2.0 ** min(self.attempt, 30))
        self.attempt += 1
        return wait

    def reset(self) -> None:
        self.attempt = 0

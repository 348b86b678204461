"""Limits that hold for several connections together: those of one user, and those of one address."""

import msgspec

from holdfast.limits.base import Rate
from holdfast.limits.memory import MemoryLimiter
from holdfast.limits.networks import PRIVATE, Networks
from holdfast.metrics import Counters


class BoundaryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of users and addresses. ``None`` turns a limit off.

    ``failed_tokens``: tokens of one address that may fail. ``exempt``: networks whose addresses have no limits
    (:class:`~holdfast.limits.networks.Networks`).
    """

    failed_tokens: Rate | None = Rate(count=20, seconds=60.0)
    exempt: tuple[str, ...] = (PRIVATE,)


class Boundary:
    """Counts what the connections of one user or one address do together. For the event loop's thread only.

    ``network`` is that of :class:`~holdfast.auth.base.Identity`; ``None`` and exempt ones have no limits.
    """

    def __init__(self, policy: BoundaryPolicy, counters: Counters) -> None:
        self._policy = policy
        self._counters = counters
        self._exempt = Networks(policy.exempt)
        self._failed_tokens = MemoryLimiter()

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def token_wait(self, network: str | None, now: float) -> float:
        """Return 0 if a token from this address may be verified, else the seconds until one may.

        Ask before a token of any kind is verified: in a handshake, a ``hello`` or a ``refresh``. Answer with ``RATE_LIMITED``
        and this time.
        """
        rate = self._policy.failed_tokens
        if rate is None or network is None or network in self._exempt:
            return 0.0
        wait = self._failed_tokens.wait(network, rate, now)
        self._counters.tokens_limited += wait > 0
        return wait

    def token_failed(self, network: str | None, now: float) -> None:
        """Note that a token from this address was not valid. Not for one that could not be verified now."""
        rate = self._policy.failed_tokens
        if rate is not None and network is not None and network not in self._exempt:
            self._failed_tokens.take(network, rate, now)

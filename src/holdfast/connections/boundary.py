"""Limits that hold for several connections together: those of one user, and those of one address."""

import logging
from collections.abc import Mapping

import msgspec

from holdfast.limits.base import Rate
from holdfast.limits.memory import MemoryLimiter
from holdfast.limits.networks import PRIVATE, Networks
from holdfast.limits.shared import Entered, SharedCounts
from holdfast.metrics import Counters
from holdfast.protocol.effects import Curb, Limited, SlowDown
from holdfast.protocol.limits import Limits
from holdfast.protocol.meter import Meter, pace_of

from .admission import Admission, Refusal
from .registry import ConnectionRegistry
from .transport import Transport

logger = logging.getLogger("holdfast.connections")

FULL_SECONDS = 30.0
"""Seconds after which a client comes back that was refused because its user or address has too many connections."""


class BoundaryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of users and addresses. ``None`` turns a limit off.

    ``handshakes``: handshakes of this process. ``failed_tokens``: tokens of one address that may fail.
    ``bodies_per_address``: posted calls of one address whose bodies may be on their way; ``signed_bodies_per_address``: signed
    requests to publish of which the same is true. ``rates_per_user``,
    ``rates_per_address``: the rates of all connections of one user, or of the anonymous ones of one address, as a multiple of
    the rates of one connection. ``members_per_address``: connections of one address above which further anonymous clients are
    one member of a topic together. ``exempt``: networks whose addresses have no limits
    (:class:`~holdfast.limits.networks.Networks`).
    """

    connections_per_user: int | None = None
    connections_per_address: int | None = None
    handshakes: Rate | None = None
    handshakes_per_address: Rate | None = None
    failed_tokens: Rate | None = Rate(count=20, seconds=60.0)
    bodies_per_address: int | None = 100
    signed_bodies_per_address: int | None = 8
    rates_per_user: float | None = None
    rates_per_address: float | None = None
    members_per_address: int | None = None
    exempt: tuple[str, ...] = (PRIVATE,)


class Boundary:
    """Counts what the connections of one user or one address do together. For the event loop's thread only.

    Transports ask :meth:`admit` before anything else and refuse a handshake as it says. ``network`` is that of
    :class:`~holdfast.auth.base.Identity`; ``None`` and exempt ones have no limits. Each process counts by itself, and with
    :meth:`share` across processes too.
    """

    def __init__(
        self,
        policy: BoundaryPolicy,
        limits: Limits,
        registry: ConnectionRegistry,
        counters: Counters,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._registry = registry
        self._counters = counters
        self._shared: SharedCounts | None = None
        self._exempt = Networks(policy.exempt)
        self._rates = MemoryLimiter()
        self._networks: dict[str, int] = {}
        self._bodies: dict[tuple[str, bool], int] = {}
        self._meters: dict[str, Meter] = {}  # of users and addresses that have several connections

    def share(self, shared: SharedCounts) -> None:
        """Count connections and handshakes in ``shared``, too."""
        self._shared = shared

    # ── handshakes ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def admit(self, network: str | None, now: float) -> Admission | Refusal:
        """Count a handshake, before it is authenticated. The caller ends the admission, or gives it to a connection."""
        policy = self._policy
        if policy.handshakes is not None and (wait := self._rates.wait(None, policy.handshakes, now)):
            self._counters.handshakes_refused += 1
            return Refusal(
                limit="handshakes",
                status=503,
                retry_after=wait,
                reason=f"this process takes {policy.handshakes} handshakes (HANDSHAKE_RATE)",
            )
        count = 0 if network is None else self._networks.get(network, 0)
        if network is not None and not self.limits_hold(network):
            self._hint_at_proxy(network, count)
        elif network is not None and (refusal := self._refusal(network, self._here(network, count, now))):
            return refusal
        # Not before: an address beyond its own limits must not use up those of others.
        if policy.handshakes is not None:
            self._rates.take(None, policy.handshakes, now)
        if network is None:
            return Admission(self, None)
        self._networks[network] = count + 1
        if self._shared is not None and self.limits_hold(network):
            limit, rate = policy.connections_per_address, policy.handshakes_per_address
            try:
                entered = await self._shared.enter(f"address:{network}", limit=limit, rate=rate)
            except BaseException:
                self._forget_network(network)
                raise
            if refusal := self._refusal(network, entered):
                self._forget_network(network)
                return refusal
        return Admission(self, network)

    def limits_hold(self, network: str) -> bool:
        """Whether limits per address hold for this one."""
        return network not in self._exempt

    def _here(self, network: str, count: int, now: float) -> Entered:
        limit, rate = self._policy.connections_per_address, self._policy.handshakes_per_address
        if limit is not None and count >= limit:
            return Entered(over=True)
        return Entered(wait=0.0 if rate is None else self._rates.take(("handshake", network), rate, now))

    def _refusal(self, network: str, entered: Entered) -> Refusal | None:
        if entered.over:
            self._counters.connections_refused += 1
            reason = (
                f"{network} has {self._policy.connections_per_address} connections (CONNECTIONS_PER_ADDRESS)"
            )
            limit = "connections_per_address"
            return Refusal(limit=limit, status=429, retry_after=FULL_SECONDS, reason=reason)
        if entered.wait:
            self._counters.handshakes_refused += 1
            reason = f"{network} may open {self._policy.handshakes_per_address} (HANDSHAKES_PER_ADDRESS)"
            limit = "handshakes_per_address"
            return Refusal(limit=limit, status=429, retry_after=entered.wait, reason=reason)
        return None

    def _hint_at_proxy(self, network: str, count: int) -> None:
        """Log that limits per address do not work, when an exempt address reaches one."""
        if count + 1 == self._policy.connections_per_address:
            logger.warning(
                "%s has %d connections, but is among EXEMPT_NETWORKS, so that no limit per address holds for it. If it is a "
                "proxy, let the server trust its X-Forwarded-For (FORWARDED_ALLOW_IPS for holdfast serve and Uvicorn): then "
                "each client counts by its own address.",
                network,
                count + 1,
            )

    def left(self, network: str | None, owner: str | None) -> None:
        """Count one connection less. ``owner`` is the user for which it was counted, if it was."""
        if network is not None:
            self._forget_network(network)
            if self._shared is not None and self.limits_hold(network):
                self._shared.leave(f"address:{network}")
        if owner is not None:
            self.leave_user(owner)

    def _forget_network(self, network: str) -> None:
        count = self._networks[network] - 1
        if count:
            self._networks[network] = count
        else:
            del self._networks[network]
            self._meters.pop(f"address:{network}", None)

    # ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def enter_user(self, owner: str) -> float:
        """Count one more connection of a user, before it is registered. Return 0; or the seconds to wait, because the user has as
        many as one may have, and then it is not counted."""
        limit = self._policy.connections_per_user
        if limit is None:
            return 0.0
        full = self._registry.count(owner) >= limit
        if not full and self._shared is not None:
            full = (await self._shared.enter(owner, limit=limit)).over
        self._counters.connections_refused += full
        return FULL_SECONDS if full else 0.0

    async def change_user(self, before: str | None, after: str | None) -> float:
        """Count a connection for another user than before. Return 0; or the seconds to wait, as :meth:`enter_user` does."""
        if after is None or before == after:
            return 0.0
        full = await self.enter_user(after)
        if before is not None and not full:
            self.leave_user(before)
        return full

    def leave_user(self, owner: str) -> None:
        """Count one connection of a user less, after it has left the registry."""
        if self._meters and not self._registry.count(owner):
            self._meters.pop(owner, None)
        if self._shared is not None and self._policy.connections_per_user is not None:
            self._shared.leave(owner)

    # ── rates ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def meter(self, owner: str | None, network: str | None) -> Meter | None:
        """Return the meter that a registered connection shares with others of its user, or of its address if it is anonymous
        (``owner`` is ``None``). A single connection has none: its own rates are lower."""
        policy = self._policy
        if owner is not None:
            count, factor, key = self._registry.count(owner), policy.rates_per_user, owner
        elif network is not None and self.limits_hold(network):
            count, factor = self._networks.get(network, 0), policy.rates_per_address
            key = f"address:{network}"
        else:
            return None
        if count < 2 or factor is None:
            return None
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(pace_of(self._limits, factor))
        return meter

    def take_post(self, owner: str | None, network: str | None, now: float) -> float:
        """Count a message that came by itself, in a request. Return 0, or the seconds until it would be within the rates of its
        user; for an anonymous client, of its address."""
        policy, limits = self._policy, self._limits
        if owner is None and (network is None or not self.limits_hold(network)):
            return 0.0
        factor = policy.rates_per_address if owner is None else policy.rates_per_user
        if factor is None:
            return 0.0
        rate = Rate(count=int(factor * limits.burst), seconds=limits.burst / limits.messages_per_second)
        wait = self._rates.take(("post", owner or network), rate, now)
        self._counters.messages_limited += wait > 0
        return wait

    def begin_body(self, network: str | None, *, signed: bool = False) -> bool:
        """Count a request whose body is on its way; :meth:`end_body` ends that. Return ``False``, and do not count it, if its
        address has as many as it may have. A client can take seconds to send a body, and the process keeps what is there. A
        ``signed`` body is a large one, whose sender is proved only by all of it."""
        policy = self._policy
        limit = policy.signed_bodies_per_address if signed else policy.bodies_per_address
        if network is None or limit is None or not self.limits_hold(network):
            return True
        count = self._bodies.get((network, signed), 0)
        if count >= limit:
            return False
        self._bodies[network, signed] = count + 1
        return True

    def end_body(self, network: str | None, *, signed: bool = False) -> None:
        """Count one body less, after :meth:`begin_body` returned ``True``."""
        if network is None or not (count := self._bodies.get((network, signed), 0)):
            return
        if count > 1:
            self._bodies[network, signed] = count - 1
        else:
            del self._bodies[network, signed]

    def crowd(self, network: str | None) -> str | None:
        """Return the network if it has more connections than one address may have as separate anonymous members."""
        limit = self._policy.members_per_address
        if limit is None or network is None or self._networks.get(network, 0) <= limit:
            return None
        return network if self.limits_hold(network) else None

    def slow(self, effect: Curb, transport: Transport) -> None:
        """Count a rate that was exceeded, or slow the client."""
        counters = self._counters
        if isinstance(effect, SlowDown):
            counters.connections_slowed += 1
            transport.slow_down(effect.seconds)
        elif isinstance(effect, Limited):
            counters.joins_limited += effect.what == "joins"
            counters.messages_limited += effect.what == "messages"

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def token_wait(self, network: str | None, now: float) -> float:
        """Return 0 if a token from this address may be verified, else the seconds until one may.

        Ask before a token of any kind is verified: in a handshake, a ``hello`` or a ``refresh``. Answer with ``RATE_LIMITED``
        and this time.
        """
        rate = self._policy.failed_tokens
        if rate is None or network is None or not self.limits_hold(network):
            return 0.0
        wait = self._rates.wait(("token", network), rate, now)
        self._counters.tokens_limited += wait > 0
        return wait

    def token_failed(self, network: str | None, now: float) -> None:
        """Note that a token from this address was not valid. Not for one that could not be verified now."""
        rate = self._policy.failed_tokens
        if rate is not None and network is not None and self.limits_hold(network):
            self._rates.take(("token", network), rate, now)

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────────

    def counts(self) -> Mapping[str, int]:
        """Return the connections of this process, by the keys that :class:`SharedCounts` counts."""
        found: dict[str, int] = {}
        if self._policy.connections_per_user is not None:
            for connection in self._registry:
                if connection.user_id is not None:
                    found[connection.owner] = found.get(connection.owner, 0) + 1
        for network, count in self._networks.items():
            if self.limits_hold(network):
                found[f"address:{network}"] = count
        return found

    async def stop(self) -> None:
        if self._shared is not None:
            await self._shared.stop()

"""Limits of users and addresses, without a network."""

import pytest

from holdfast.connections.boundary import Boundary, BoundaryPolicy
from holdfast.limits.base import Rate
from holdfast.limits.networks import Networks
from holdfast.metrics import Counters


def boundary(**policy: object) -> tuple[Boundary, Counters]:
    counters = Counters()
    return Boundary(BoundaryPolicy(**policy), counters), counters  # type: ignore[arg-type]


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_whose_tokens_failed_waits_before_the_next() -> None:
    bounds, counters = boundary(failed_tokens=Rate(count=2, seconds=10.0))
    for _ in range(2):
        assert bounds.token_wait("203.0.113.7", 0.0) == 0
        bounds.token_failed("203.0.113.7", 0.0)
    assert bounds.token_wait("203.0.113.7", 0.0) == pytest.approx(5.0)
    assert bounds.token_wait("203.0.113.8", 0.0) == 0, "another address is not concerned"
    assert bounds.token_wait("203.0.113.7", 5.0) == 0
    assert counters.tokens_limited == 1


def test_tokens_that_are_valid_cost_nothing() -> None:
    bounds, _ = boundary(failed_tokens=Rate(count=1, seconds=10.0))
    assert [bounds.token_wait("203.0.113.7", 0.0) for _ in range(100)] == [0.0] * 100


@pytest.mark.parametrize("network", [None, "127.0.0.1", "::/64", "10.1.2.3", "fe80::/64", "/run/holdfast.sock"])
def test_an_exempt_or_unknown_address_has_no_limit(network: str | None) -> None:
    bounds, _ = boundary(failed_tokens=Rate(count=1, seconds=10.0))
    for _ in range(5):
        bounds.token_failed(network, 0.0)
    assert bounds.token_wait(network, 0.0) == 0


# ── networks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_networks_hold_addresses_of_both_kinds() -> None:
    networks = Networks(["192.0.2.0/24", "2001:db8::/32"])
    assert "192.0.2.9" in networks
    assert "2001:db8:1:2::/64" in networks
    assert "192.0.3.9" not in networks
    assert "10.0.0.1" not in networks


def test_a_text_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="intern"):
        Networks(["intern"])

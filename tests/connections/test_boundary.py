"""Limits of users and addresses, without a network."""

from typing import Any

import pytest

from holdfast import Presence, Topic
from holdfast.connections.admission import Admission, Refusal
from holdfast.connections.boundary import FULL_SECONDS, Boundary, BoundaryPolicy
from holdfast.connections.caller import ConnectionCaller
from holdfast.connections.joining import attendance_of
from holdfast.connections.registry import ConnectionRegistry
from holdfast.limits.base import Rate
from holdfast.limits.networks import Networks
from holdfast.metrics import Counters
from holdfast.protocol.limits import Limits
from holdfast.threads.threads import Threads
from tests.support.identities import ANONYMOUS

ADDRESS = "203.0.113.7"


class Owned:
    """A registered connection, as far as its owner is concerned."""

    transport_name = "websocket"

    def __init__(self, id: str, owner: str) -> None:
        self.id, self.owner, self.user_id = id, owner, owner.removeprefix("user:")


def boundary(**policy: Any) -> tuple[Boundary, Counters]:
    counters = Counters()
    return Boundary(BoundaryPolicy(**policy), Limits(), ConnectionRegistry(), counters), counters


async def admitted(bounds: Boundary, network: str | None = ADDRESS, now: float = 0.0) -> Admission:
    found = await bounds.admit(network, now)
    assert isinstance(found, Admission)
    return found


async def refused(bounds: Boundary, network: str | None = ADDRESS, now: float = 0.0) -> Refusal:
    found = await bounds.admit(network, now)
    assert isinstance(found, Refusal)
    return found


def registered(bounds: Boundary, owner: str, count: int) -> list[Any]:
    connections: list[Any] = [Owned(f"{owner}-{number}", owner) for number in range(count)]
    for connection in connections:
        bounds._registry.add(connection)
    return connections


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_has_no_more_connections_than_it_may() -> None:
    bounds, counters = boundary(connections_per_address=2)
    first, _ = await admitted(bounds), await admitted(bounds)
    assert (await refused(bounds)).status == 429
    await admitted(bounds, "203.0.113.8")
    first.end()
    await admitted(bounds)
    assert counters.connections_refused == 1


async def test_a_handshake_that_a_connection_has_taken_counts_until_the_connection_is_gone() -> None:
    bounds, _ = boundary(connections_per_address=1)
    admission = await admitted(bounds)
    network, counted = admission.take()
    admission.end()
    await refused(bounds)
    bounds.left(network, None)
    assert not counted
    await admitted(bounds)


async def test_handshakes_of_an_address_have_a_rate() -> None:
    bounds, counters = boundary(handshakes_per_address=Rate(count=2, seconds=4.0))
    for _ in range(2):
        (await admitted(bounds)).end()
    assert await refused(bounds) == Refusal(
        limit="handshakes_per_address",
        status=429,
        retry_after=2.0,
        reason="203.0.113.7 may open 2/4s (HANDSHAKES_PER_ADDRESS)",
    )
    (await admitted(bounds, now=2.0)).end()
    assert counters.handshakes_refused == 1


async def test_handshakes_of_the_process_have_a_rate_wherever_they_come_from() -> None:
    bounds, _ = boundary(handshakes=Rate(count=2, seconds=1.0))
    await admitted(bounds, None)
    await admitted(bounds, "127.0.0.1")
    assert (await refused(bounds)).status == 503


async def test_refused_handshakes_of_an_address_use_up_none_of_the_process() -> None:
    bounds, _ = boundary(
        handshakes=Rate(count=3, seconds=60.0), handshakes_per_address=Rate(count=1, seconds=60.0)
    )
    await admitted(bounds)
    for _ in range(5):
        assert (await refused(bounds)).status == 429
    await admitted(bounds, "203.0.113.8")
    await admitted(bounds, None)
    assert (await refused(bounds, "203.0.113.9")).status == 503


async def test_an_exempt_address_that_reaches_the_limit_is_logged_as_a_proxy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bounds, _ = boundary(connections_per_address=2)
    for _ in range(5):
        await admitted(bounds, "10.0.0.1")
    [line] = caplog.messages
    assert line.startswith("10.0.0.1 has 2 connections, but is among EXEMPT_NETWORKS")
    assert "FORWARDED_ALLOW_IPS" in line


async def test_nothing_is_kept_of_an_address_that_is_gone() -> None:
    bounds, _ = boundary(connections_per_address=5, rates_per_address=2.0)
    admissions = [await admitted(bounds) for _ in range(3)]
    assert bounds.meter(None, ADDRESS) is not None
    for admission in admissions:
        admission.end()
    assert (bounds._networks, bounds._meters) == ({}, {})


async def test_an_address_with_many_connections_is_a_crowd() -> None:
    bounds, _ = boundary(members_per_address=2)
    for _ in range(2):
        await admitted(bounds)
        await admitted(bounds, "127.0.0.1")
    assert bounds.crowd(ADDRESS) is None
    await admitted(bounds)
    await admitted(bounds, "127.0.0.1")
    assert bounds.crowd(ADDRESS) == ADDRESS
    assert bounds.crowd("127.0.0.1") is None


async def test_anonymous_clients_of_a_crowd_are_one_member() -> None:
    class Room(Topic):
        route = "crowds/<slug:room>"
        presence = Presence()

        def may_join(self, user: Any) -> bool:
            return True

    threads = Threads(1)
    topic = Room(room="lobby")
    callers = [
        ConnectionCaller(identity=ANONYMOUS, secret=f"client-{n}", connection_id=f"c{n}") for n in range(3)
    ]
    apart = {(await attendance_of(threads, topic, caller, Room.presence)).member for caller in callers}
    together = {
        (await attendance_of(threads, topic, caller, Room.presence, ADDRESS)).member for caller in callers
    }
    threads.close()
    assert (len(apart), len(together)) == (3, 1)


def test_messages_that_come_by_post_have_a_rate_for_each_user_and_address() -> None:
    bounds, counters = boundary(rates_per_user=2.0, rates_per_address=2.0)
    for owner, network in (("user:7", None), (None, ADDRESS)):
        taken = 0
        while not bounds.take_post(owner, network, 0.0):
            taken += 1
        assert taken == 2 * Limits().burst
    assert bounds.take_post("user:8", ADDRESS, 0.0) == 0
    assert bounds.take_post(None, "127.0.0.1", 0.0) == 0
    assert counters.messages_limited == 2


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_user_has_no_more_connections_than_one_may() -> None:
    bounds, counters = boundary(connections_per_user=2)
    connections = registered(bounds, "user:7", 2)
    admission = await admitted(bounds)
    await admission.identify("user:7")
    assert admission.full == FULL_SECONDS
    other = await admitted(bounds)
    await other.identify("user:8")
    bounds._registry.discard(connections[0])
    again = await admitted(bounds)
    await again.identify("user:7")
    assert (other.full, again.full, counters.connections_refused) == (0.0, 0.0, 1)


def test_connections_of_one_user_share_a_meter_from_the_second_on() -> None:
    bounds, _ = boundary(rates_per_user=3.0)
    first, second = registered(bounds, "user:7", 1), registered(bounds, "user:8", 2)
    assert bounds.meter("user:7", None) is None
    meter = bounds.meter("user:8", None)
    assert meter is not None
    assert bounds.meter("user:8", ADDRESS) is meter
    taken = 0
    while not meter.take(10, 0.0):
        taken += 1
    assert taken == 3 * Limits().burst
    for connection in first + second:
        bounds._registry.discard(connection)
        bounds.leave_user(connection.owner)
    assert not bounds._meters


async def test_anonymous_connections_of_one_address_share_a_meter() -> None:
    bounds, _ = boundary(rates_per_address=6.0)
    for _ in range(2):
        await admitted(bounds)
        await admitted(bounds, "127.0.0.1")
    assert bounds.meter(None, ADDRESS) is bounds.meter(None, ADDRESS) is not None
    assert bounds.meter(None, "127.0.0.1") is None


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


@pytest.mark.parametrize(
    "network", [None, "127.0.0.1", "::/64", "10.1.2.3", "fe80::/64", "/run/holdfast.sock"]
)
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

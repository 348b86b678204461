"""Addresses as limits count them."""

import pytest
from django.contrib.auth.models import AnonymousUser, User

from holdfast.auth.address import network_of
from holdfast.auth.base import Identity


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/holdfast.sock", "/run/holdfast.sock"),
    ],
)
def test_addresses_of_one_client_share_a_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_users_are_limited_by_their_owner_and_anonymous_clients_by_address() -> None:
    assert Identity(user=User(pk=7), address="192.0.2.1").limit_key == "user:7"
    assert Identity(user=AnonymousUser(), address="192.0.2.1").limit_key == "address:192.0.2.1"
    assert Identity(user=AnonymousUser()).limit_key is None

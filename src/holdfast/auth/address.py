"""The part of a client's address that limits go by."""

import ipaddress
from functools import lru_cache

IPV6_PREFIX = 64
"""Bits of an IPv6 address that name one customer: providers hand out whole /64 networks, and a client may use any address in it
(RFC 6177)."""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the text that one client's addresses have in common: an IPv4 address itself, the /64 network of an IPv6 address.

    An IPv4 address inside IPv6 (``::ffff:192.0.2.1``) counts as IPv4. Text that is no IP address, such as the path of a UNIX
    socket, is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    text = str(parsed)
    return address if address == text else text  # one text for each connection, not two

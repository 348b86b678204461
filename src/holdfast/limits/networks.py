"""Networks whose addresses have no limits of their own."""

import ipaddress
from collections.abc import Iterable

PRIVATE = "private"
"""Loopback, link-local and private addresses."""

REMEMBERED = 4096
"""Addresses whose answer is remembered."""

_PRIVATE = (
    "127.0.0.0/8",  # RFC 1122, 3.2.1.3
    "10.0.0.0/8",  # RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",  # RFC 3927
    "100.64.0.0/10",  # RFC 6598
    "::/127",  # RFC 4291: loopback, whose /64 begins at ::
    "fe80::/10",
    "fc00::/7",  # RFC 4193
)


class Networks:
    """A set of IP networks, from texts such as ``"10.0.0.0/8"``, ``"2001:db8::/32"`` or ``"private"``.

    Raises ``ValueError`` for a text that is none of these.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._known: dict[str, bool] = {}
        self._networks = [
            ipaddress.ip_network(part)
            for text in texts
            for part in (_PRIVATE if text == PRIVATE else (text,))
        ]

    def __contains__(self, network: str) -> bool:
        """Return whether an address, or the /64 network of an IPv6 address, lies in the set. Text that is neither lies in
        it, too: it names no client."""
        known = self._known.get(network)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[network] = self._holds(network)
        return known

    def _holds(self, network: str) -> bool:
        try:
            address = ipaddress.ip_network(network, strict=False).network_address
        except ValueError:
            return True
        return any(address in found for found in self._networks)

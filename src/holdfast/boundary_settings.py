"""The limits that the settings describe: those of one connection, and those of users and addresses."""

from .conf import Settings
from .connections.boundary import BoundaryPolicy
from .limits.base import Rate
from .protocol.limits import Limits


def limits_of(chosen: Settings) -> Limits:
    return Limits(
        message_bytes=chosen.message_bytes,
        topics=chosen.topics_per_connection,
        calls=chosen.calls_per_connection,
        messages_per_second=chosen.rate.per_second,
        burst=chosen.message_burst,
        bytes_per_second=Rate.parse(chosen.byte_rate).per_second,
        byte_burst=chosen.byte_burst,
        joins_per_second=Rate.parse(chosen.join_rate).per_second,
        join_burst=max(chosen.topics_per_connection, Rate.parse(chosen.join_rate).count),
        hello_seconds=chosen.hello_seconds,
        heartbeat=chosen.heartbeat_seconds,
    )


def boundary_of(chosen: Settings) -> BoundaryPolicy:
    def rate(text: str | None) -> Rate | None:
        return None if text is None else Rate.parse(text)

    return BoundaryPolicy(
        connections_per_user=chosen.connections_per_user,
        connections_per_address=chosen.connections_per_address,
        handshakes=rate(chosen.handshake_rate),
        handshakes_per_address=rate(chosen.handshakes_per_address),
        failed_tokens=rate(chosen.failed_tokens),
        bodies_per_address=chosen.calls_per_user,
        rates_per_user=chosen.rates_per_user,
        rates_per_address=chosen.rates_per_address,
        members_per_address=chosen.members_per_address,
        exempt=chosen.exempt_networks,
    )

"""System checks about limits and about the Redis that processes trust."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name

from . import conf
from .database_checks import TAG
from .redis.address import BadUrl, RedisAddress


@register(TAG)
def check_limits(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can a client send the largest message that is allowed, and do limits per address hold for any address?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    return [*_burst(settings), *_all_exempt(settings)]


def _burst(settings: conf.Settings) -> Iterator[CheckMessage]:
    if settings.byte_burst < settings.message_bytes:
        yield Error(
            f"BYTE_BURST ({settings.byte_burst}) is below MESSAGE_BYTES ({settings.message_bytes}): the largest messages "
            "would be refused for ever.",
            hint=f'Set {conf.NAME}["BYTE_BURST"] to at least {settings.message_bytes}, or lower MESSAGE_BYTES.',
            id="holdfast.E038",
        )


def _all_exempt(settings: conf.Settings) -> Iterator[CheckMessage]:
    for text in settings.exempt_networks:
        if text.endswith("/0"):
            yield Warning(
                f"EXEMPT_NETWORKS contains {text}, which is every address: no limit per address holds.",
                hint="Name the networks that you mean. To turn off a single limit per address, set it to None.",
                id="holdfast.W039",
            )


@register(TAG)
def check_redis(**kwargs: Any) -> Sequence[CheckMessage]:
    """Does the Redis that processes trust like each other ask for a password?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    if settings.redis is None:
        return []
    try:
        address = RedisAddress.parse(settings.redis)
    except BadUrl:
        return []  # E002 says so
    hosts = [host for host, _ in address.hosts if not _is_here(host)]
    if address.socket is not None or address.password or not hosts:
        return []
    return [
        Warning(
            f"{conf.NAME}['REDIS'] names {', '.join(hosts)} without a password. A program that reaches this Redis can send events "
            "to all clients.",
            hint="Give Holdfast a user of its own with a password (docs/how-to/redis.md has the ACL line). If only your "
            "servers reach it by the network, silence this check.",
            id="holdfast.W038",
        )
    ]


def _is_here(host: str) -> bool:
    """Is this the same machine, or a service beside it, as a container's name without a dot is?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host

"""System checks of how several processes reach each other, and of what outlives a process."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name

from . import conf, installation, wiring
from .backplane.layers import is_in_memory
from .database_checks import TAG
from .topics.registry import registry
from .topics.topic import Topic


@register(TAG)
def check_between_processes(**kwargs: Any) -> Sequence[CheckMessage]:
    """Do several processes reach each other, and does the log outlive a process?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    layer = getattr(django_settings, "CHANNEL_LAYERS", {}).get("default", {})
    messages: list[CheckMessage] = []
    if settings.backplane == "channels" and not layer:
        messages.append(
            Error(
                f'{conf.NAME}["BACKPLANE"] is "channels", but CHANNEL_LAYERS has no "default".',
                hint='Set CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", '
                '"CONFIG": {"hosts": ["redis://localhost:6379"]}}}, or leave BACKPLANE out.',
                id="holdfast.E004",
            )
        )
    messages += [
        Error(
            f'{conf.NAME}["{key}"] is "redis", but {conf.NAME} has no "REDIS".',
            hint=f'Add "REDIS": "redis://localhost:6379/0" to {conf.NAME}, or leave {key} out.',
            id="holdfast.E007",
        )
        for key in ("BACKPLANE", "PRESENCE", "LOG")
        if getattr(settings, key.lower()) == "redis" and settings.redis is None
    ]
    if settings.backplane == "channels" and is_in_memory(layer):
        messages.append(
            Warning(
                f'{conf.NAME}["BACKPLANE"] is "channels", but CHANNEL_LAYERS["default"] is the in-memory layer, which '
                "reaches no other process, and makes each join slower than the one before.",
                hint="Leave BACKPLANE out: what this process sends to the groups of topics reaches them all the same. "
                f'Between machines add "REDIS": "redis://localhost:6379/0" to {conf.NAME}, or use '
                "channels_redis.pubsub.RedisPubSubChannelLayer.",
                id="holdfast.W004",
            )
        )
    messages += _local(settings)
    return messages if django_settings.DEBUG else [*messages, *_in_production(settings, layer)]


@register(TAG, deploy=True)
def check_between_processes_of_production(**kwargs: Any) -> Sequence[CheckMessage]:
    """Does ``check --deploy`` under ``DEBUG`` report what the check above reports only without it?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    layer = getattr(django_settings, "CHANNEL_LAYERS", {}).get("default", {})
    return list(_in_production(settings, layer)) if django_settings.DEBUG else []


def _in_production(settings: conf.Settings, layer: Any) -> Iterator[CheckMessage]:
    """Warnings that would be noise while one developer runs one process."""
    if settings.log == "memory":
        yield Warning(
            f'{conf.NAME}["LOG"] is "memory": durable topics forget everything when the process ends.',
            hint="Leave LOG out, which keeps them in the database, where DEBUG is off.",
            id="holdfast.W005",
        )
    yield from _presence(settings)
    yield from _passing(settings, layer)


def _local(settings: conf.Settings) -> Iterator[CheckMessage]:
    """With the local backplane: can the processes of this machine find each other?"""
    if wiring.backplane_kind(settings) != "local":
        return
    reason = installation.unusable(settings.database)
    if reason is not None:
        yield Warning(
            f"The processes of this machine do not reach each other: {reason}.",
            hint="Remove what is in the way; or add "
            f'"REDIS": "redis://localhost:6379/0" to {conf.NAME}; or, if there is only one process, "BACKPLANE": "memory".',
            id="holdfast.W025",
        )


def _passing(settings: conf.Settings, layer: Any) -> Iterator[CheckMessage]:
    """Without Redis or Channels an ephemeral event stays on its machine. ``"BACKPLANE": "local"`` accepts that explicitly."""
    if settings.backplane != "auto" or settings.redis is not None or (layer and not is_in_memory(layer)):
        return
    topics = [topic.__qualname__ for topic in registry.topics() if _passes_through(topic)]
    if topics:
        yield Warning(
            f"{' and '.join(topics)} {'have' if len(topics) > 1 else 'has'} ephemeral events, but nothing carries them "
            "to other machines and containers: clients that are connected there miss them.",
            hint=f'Add "REDIS": "redis://localhost:6379/0" to {conf.NAME}, or set CHANNEL_LAYERS; or, if all processes are on '
            'one machine, "BACKPLANE": "local".',
            id="holdfast.W009",
        )


def _passes_through(topic: type[Topic]) -> bool:
    declared = topic.declared
    return not declared.durable or any(not event.__durable__ for event in declared.events.values())


def _presence(settings: conf.Settings) -> Iterator[CheckMessage]:
    """Without Redis each process knows only its own members. ``"PRESENCE": "memory"`` accepts that explicitly."""
    if settings.presence != "auto" or settings.redis is not None:
        return
    topics = [topic.__qualname__ for topic in registry.topics() if topic.declared.presence is not None]
    if topics:
        yield Warning(
            f"{' and '.join(topics)} {'have' if len(topics) > 1 else 'has'} presence, but there is no Redis: each process "
            "knows only of the members that are connected to itself.",
            hint=f'Add "REDIS": "redis://localhost:6379/0" to {conf.NAME}, or, if there is only one process, "PRESENCE": '
            '"memory".',
            id="holdfast.W008",
        )

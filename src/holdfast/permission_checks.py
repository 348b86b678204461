"""System checks of the permissions that topics and actions require."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's own name
from django.db.models import Model

from .database_checks import TAG
from .topics.registry import registry
from .topics.topic import Topic


@register(TAG)
def check_permissions(**kwargs: Any) -> Sequence[CheckMessage]:
    """Do the permissions exist that topics and actions require, and can a user have them?"""
    required = [(topic, where, name) for topic in registry.topics() for where, name in _required(topic)]
    if not required:
        return []
    if not apps.is_installed("django.contrib.auth"):
        topic, where, name = required[0]
        return [
            Warning(
                f"{where} requires {name!r}, but INSTALLED_APPS lacks django.contrib.auth, which stores permissions.",
                hint='Add "django.contrib.auth" and "django.contrib.contenttypes"; or, if the users of your tokens have a '
                "has_perms() of their own, silence this.",
                obj=topic,
                id="holdfast.W035",
            )
        ]
    known = {name for model in apps.get_models() for name in _permissions_of(model)}
    return [_unknown(topic, where, name) for topic, where, name in required if name not in known]


def _required(topic: type[Topic]) -> Iterator[tuple[str, str]]:
    """Yield the permissions that a topic and its actions require, each with the place that requires it."""
    for name in topic.declared.requires:
        yield topic.__qualname__, name
    for action in topic.declared.actions.values():
        for name in action.requires:
            yield f"{topic.__qualname__}.{action.function.__name__}", name


def _permissions_of(model: type[Model]) -> Iterator[str]:
    """Yield the names of the permissions that ``migrate`` makes for a model."""
    options = model._meta
    for action in options.default_permissions:
        yield f"{options.app_label}.{action}_{options.model_name}"
    for codename, _ in options.permissions:
        yield f"{options.app_label}.{codename}"


def _unknown(topic: type[Topic], where: str, name: str) -> CheckMessage:
    label = name.partition(".")[0]
    known = apps.app_configs.get(label)
    reason = (
        f"no model of the app {label!r} declares it"
        if known is not None
        else f"no installed app has the label {label!r}"
    )
    return Warning(
        f"{where} requires {name!r}, but {reason}: no user has it, except superusers.",
        hint="Correct the name, or add it to the permissions of a model's Meta. If a migration creates it, or your "
        "authentication backend knows it, silence this.",
        obj=topic,
        id="holdfast.W034",
    )

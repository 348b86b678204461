"""System checks of users and authenticators."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name
from django.core.exceptions import ImproperlyConfigured
from django.db.models import CompositePrimaryKey

from . import conf, wiring
from .database_checks import TAG


@register(TAG)
def check_authenticators(**kwargs: Any) -> Sequence[CheckMessage]:
    """Do the authenticators take their options, and do the options keep strangers out?"""
    settings, problems = conf.read(getattr(django_settings, conf.NAME, {}))
    if problems or any(want.missing for want in wiring.wanted_extras(settings)):
        return []
    try:
        return wiring.build_authenticator(settings).check()
    except ImproperlyConfigured as error:
        return [
            Error(
                f'{conf.NAME}["AUTHENTICATOR"]: {error}',
                hint="docs/how-to/authentication.md shows the options of each authenticator.",
                id="holdfast.E036",
            )
        ]
    except ImportError:
        return []  # E002 says so


@register(TAG)
def check_users(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can a connection belong to a signed-in user?"""
    settings, _ = conf.read(getattr(django_settings, conf.NAME, {}))
    missing = [
        name for name in ("django.contrib.auth", "django.contrib.sessions") if not apps.is_installed(name)
    ]
    other_ways = settings.token_authenticator is not None or settings.authenticator != ("session",)
    if not missing or other_ways:
        return []
    return [
        Warning(
            f"INSTALLED_APPS lacks {' and '.join(missing)}, so every connection is anonymous.",
            hint=f'Add them, or say with {conf.NAME} = {{"TOKEN_AUTHENTICATOR": "accounts.tokens.user"}} which user a token belongs to.',
            id="holdfast.W007",
        )
    ]


@register(TAG)
def check_user_key(**kwargs: Any) -> Sequence[CheckMessage]:
    """Is the primary key of users a single value?"""
    if not apps.is_installed("django.contrib.auth"):
        return []
    model = get_user_model()
    if not isinstance(model._meta.pk, CompositePrimaryKey):
        return []
    return [
        Error(
            f"{model._meta.label} has a composite primary key, but Holdfast identifies users by the text of one value.",
            hint="Give the user model a primary key of one field, and make the other fields a UniqueConstraint.",
            obj=model,
            id="holdfast.E009",
        )
    ]

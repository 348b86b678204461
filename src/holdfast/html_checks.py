"""System checks of the template engines that render fragments for subscribers."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name
from django.template import engines

from .database_checks import TAG
from .topics.html import Html
from .topics.registry import registry


@register(TAG)
def check_html(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can topics that publish HTML render it, and are the values in it escaped?"""
    topics = [topic for topic in registry.topics() if Html in topic.declared.events.values()]
    if not topics:
        return []
    names = ", ".join(sorted(topic.__qualname__ for topic in topics))
    if not django_settings.TEMPLATES:
        return [
            Error(
                f"{names} publishes HTML, but TEMPLATES has no engine that could render it.",
                hint='Set TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}].',
                id="holdfast.E039",
            )
        ]
    return [
        Warning(
            f"{names} publishes HTML, and the template engine {given.get('NAME', given['BACKEND'])!r} escapes no values: what "
            "one user writes could be HTML in the pages of all others.",
            hint='Remove "autoescape": False from its OPTIONS in TEMPLATES; in a template that needs it write '
            "{% autoescape off %}.",
            id="holdfast.W041",
        )
        for given in engines.templates.values()
        if given["OPTIONS"].get("autoescape") is False
    ]

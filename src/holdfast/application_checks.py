"""System checks of the application that ``ASGI_APPLICATION`` names."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's own name
from django.utils.module_loading import import_string

from .application import has_live_topics
from .database_checks import TAG


@register(TAG)
def check_application(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can the application be loaded, and does it serve live topics? Without the setting, Holdfast's commands create one."""
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    if path is None:
        return []
    try:
        application = import_string(path)
    except Exception as error:  # noqa: BLE001 - a module of the project may raise anything
        return [
            Warning(
                f"ASGI_APPLICATION is {path!r}, which cannot be loaded: {type(error).__name__}: {error}.",
                hint="Name the application of your asgi.py, such as 'mysite.asgi.application', or leave the setting out: "
                "runserver and holdfast serve then serve Django and live topics.",
                id="holdfast.W022",
            )
        ]
    if has_live_topics(application):
        return []
    return [
        Warning(
            f"ASGI_APPLICATION is {path!r}, which serves no live topics, so every live connection is refused.",
            hint="Add to that module, below get_asgi_application(): `from holdfast.asgi import with_live_topics`, and "
            "`application = with_live_topics(application)`.",
            id="holdfast.W021",
        )
    ]

"""The application that this project serves, for the commands that serve it."""

from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from holdfast import conf

LARGEST_MESSAGE = 1 << 20


def largest_message() -> int:
    """How many bytes a message may have before its connection is closed without an answer.

    A live connection answers messages beyond ``MESSAGE_BYTES`` itself (``too_large``), so it must see them; and Channels
    consumers may want larger ones.
    """
    return max(LARGEST_MESSAGE, 4 * conf.settings().message_bytes)


def live_url(root_path: str = "") -> str:
    """Return the path of the WebSocket, as browsers see it. ``root_path`` is the server's."""
    prefix = settings.FORCE_SCRIPT_NAME or root_path
    return f"{prefix.rstrip('/')}/{conf.settings().path}ws"


def load() -> Any:
    """What ``ASGI_APPLICATION`` names; without it Django with live topics. Sets Django up where that was not done yet.

    Raises ``CommandError`` when it cannot be loaded.
    """
    if not apps.ready:
        django.setup()
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        from holdfast.asgi import application  # asks for the settings

        return application(get_asgi_application())
    try:
        return import_string(path)
    except ImportError as error:
        raise CommandError(
            f"ASGI_APPLICATION = {path!r} cannot be loaded: {error}. Name the application of your asgi.py, such as "
            "'mysite.asgi.application', or leave the setting out."
        ) from error

"""The ASGI application of the project, for the commands that serve it and for the system checks."""

from typing import Any

import django
from channels.routing import ProtocolTypeRouter
from django.apps import apps
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from holdfast import conf
from holdfast.transports.missing import WithoutLiveTopics

LARGEST_MESSAGE = 1 << 20


def largest_message() -> int:
    """Return the bytes above which the server closes a connection without an answer.

    A live connection itself answers messages beyond ``MESSAGE_BYTES`` (``too_large``), so it must receive them. Channels
    consumers may need larger ones, too.
    """
    return max(LARGEST_MESSAGE, 4 * conf.settings().message_bytes)


def live_path() -> str:
    """Return the path of the WebSocket, below the prefix under which the project is served."""
    return f"/{conf.settings().path}ws"


def live_url(root_path: str = "") -> str:
    """Return the path of the WebSocket that browsers use. ``root_path`` is the server's option."""
    prefix = settings.FORCE_SCRIPT_NAME or root_path
    return f"{prefix.rstrip('/')}{live_path()}"


def announced(application: Any, root_path: str = "") -> str:
    """Return a sentence for the server's banner: what it serves with this application."""
    if has_live_topics(application):
        return f"serves HTTP, and live topics at {live_url(root_path)}"
    return (
        f"serves HTTP, and NO live topics: ASGI_APPLICATION = {_named()!r} has none "
        "(system check holdfast.W021)"
    )


def load() -> Any:
    """Return the application that ``ASGI_APPLICATION`` names; without the setting, Django with live topics.

    Sets Django up first if necessary. Raises ``CommandError`` when the application cannot be loaded.
    """
    if not apps.ready:
        django.setup()
    path = _named()
    if path is None:
        from holdfast.asgi import with_live_topics  # asks for the settings

        return with_live_topics(get_asgi_application())
    try:
        return import_string(path)
    except ImportError as error:
        raise CommandError(
            f"ASGI_APPLICATION = {path!r} cannot be loaded: {error}. Name the application of your asgi.py, such as "
            "'mysite.asgi.application', or leave the setting out."
        ) from error


def _named() -> str | None:
    return getattr(settings, "ASGI_APPLICATION", None)


def has_live_topics(application: Any) -> bool:
    """Does this application, which was loaded in this process, serve live topics?

    An application can hide its parts, in a function for example. So the answer is no for applications that are known to
    have none; for others it is whether a live endpoint was made in this process.
    """
    if isinstance(application, ASGIHandler):
        return False
    if isinstance(application, ProtocolTypeRouter) and "websocket" not in application.application_mapping:
        return False
    # Not above: it needs the apps, and a new worker imports this module before they are loaded.
    from holdfast.transports.websocket import LiveWebSocket

    return LiveWebSocket.was_made


def answering(application: Any) -> Any:
    """Wrap an application without live topics, so that it refuses live connections with a reason."""
    return application if has_live_topics(application) else WithoutLiveTopics(application, live_path())


def serves_static_files() -> bool:
    """Does ``holdfast serve`` serve static files? Like Django's ``runserver``, under ``DEBUG`` only."""
    # Without STATIC_URL the handler raises; that project has no static files.
    return settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and bool(settings.STATIC_URL)


def load_to_serve() -> Any:
    """Return the application that each worker of ``holdfast serve`` runs."""
    application = answering(load())
    if not serves_static_files():
        return application
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    return ASGIStaticFilesHandler(application)

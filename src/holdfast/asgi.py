"""ASGI application: Django for HTTP, live topics (and your own consumers) for WebSocket.

In the project's ``asgi.py``::

    from django.core.asgi import get_asgi_application

    django_application = get_asgi_application()  # first: it loads the apps

    from holdfast.asgi import with_live_topics

    application = with_live_topics(django_application)

To put middleware of your own in between, compose the application of Channels' parts::

    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from holdfast.asgi import (
        answering_readiness, below_script_name, lifespan, live_urlpatterns, origin_checked,
    )

    application = ProtocolTypeRouter({
        "http": answering_readiness(django_application),
        "websocket": origin_checked(AuthMiddlewareStack(below_script_name(URLRouter(live_urlpatterns())))),
        "lifespan": lifespan,
    })
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, cast

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings as django_settings
from django.urls import URLPattern, URLResolver, path, re_path

from . import wiring
from .auth import origins
from .auth.session import session_key
from .conf import settings
from .process.end_signals import EndSignals
from .transports.failed_requests import FailedRequests
from .transports.history import LiveHistory
from .transports.http_calls import LiveCalls
from .transports.http_origin import HttpOriginCheck
from .transports.http_publish import LivePublishing
from .transports.origin import Headers, OriginCheck
from .transports.polling import LivePolling
from .transports.readiness import Readiness
from .transports.refusals import RefusalLog, shown
from .transports.script_name import BelowScriptName
from .transports.sse import LiveEventStream
from .transports.websocket import LiveWebSocket

logger = logging.getLogger("holdfast.asgi")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

CALLS_MAY_TAKE_SECONDS = 10.0

_refusals = RefusalLog(logger, time.monotonic())


def with_live_topics(
    django_application: Application, *, websocket: Sequence[URLPattern | URLResolver] = ()
) -> Application:
    """Serve live topics beside a Django application, with Channels' authentication and a check of the origin.

    ``websocket`` are URL patterns of Channels consumers of your own (``path("ws/old/", OldConsumer.as_asgi())``); they
    work unchanged beside the topics.
    """
    rest: Any = AuthMiddlewareStack(URLRouter([*websocket, re_path("", cast("Any", _not_found))]))
    return ProtocolTypeRouter(  # type: ignore[no-any-return]
        {
            "http": answering_readiness(django_application),
            "websocket": origin_checked(below_script_name(URLRouter([_live(), re_path("", rest)]))),
            "lifespan": lifespan,
        }
    )


def live_urlpatterns() -> list[Any]:
    """The URL patterns of live topics, for a ``URLRouter``.

    The user is the one that a middleware around it has put into the scope; without a middleware, the session's.
    """
    prefix = (django_settings.FORCE_SCRIPT_NAME or "").strip("/")
    # Below the prefix too, for a router without below_script_name.
    return [_live(), *([_live(f"{prefix}/")] if prefix else [])]


def _live(prefix: str = "") -> Any:
    live: Any = LiveWebSocket(wiring.service)
    return path(f"{prefix}{settings().path}ws", live)


def answering_readiness(django_application: Application) -> Application:
    """Answer two paths before Django: ``/live/ready`` (200: this process serves live connections; 503: it does not, or it
    drains) and ``/live/ws`` without an upgrade to WebSocket (426)."""
    path = settings().path
    others: dict[str, Application] = {
        f"/{path}sse": _http_checked(LiveEventStream(wiring.service), "GET", "sse"),
        f"/{path}poll": _http_checked(LivePolling(wiring.service), "GET", "polling"),
        f"/{path}call": _http_checked(LiveCalls(wiring.service), "POST", "call"),
        f"/{path}history": FailedRequests(LiveHistory(wiring.service), "history"),
        f"/{path}publish": FailedRequests(
            LivePublishing(wiring.service, lambda: settings().publishing_keys), "publish", in_json=True
        ),
    }
    return Readiness(django_application, f"/{path}ready", wiring.service, socket=f"/{path}ws", others=others)


def below_script_name(router: Application) -> Application:
    """Let a ``URLRouter`` route like Django: below ``FORCE_SCRIPT_NAME``, else below the server's ``root_path``."""
    return BelowScriptName(router)


def origin_checked(inner: Application) -> Application:
    """Accept browsers whose page has the origin of the request itself, or one that ``CSRF_TRUSTED_ORIGINS`` or
    ``HOLDFAST["ORIGINS"]`` names, and programs that send neither an ``Origin`` header nor a session's cookie.

    The rule is that of Django's CSRF check: scheme, host and port must be those that the browser asked for, and the host must
    be in ``ALLOWED_HOSTS``. ``SECURE_PROXY_SSL_HEADER`` and ``USE_X_FORWARDED_HOST`` say which headers of a proxy count. The
    settings are read at each handshake, because tests may change them.
    """
    return OriginCheck(inner, _admits, _has_session)


def _http_checked(endpoint: Application, method: str, name: str) -> Application:
    """Check the origin of requests to an HTTP endpoint by the same rule, and add CORS headers for origins that the settings allow."""
    answered = FailedRequests(endpoint, name, in_json=method == "POST")
    return HttpOriginCheck(answered, _admits, _has_session, method=method, name=name)


def _has_session(headers: Headers) -> bool:
    return session_key(headers) is not None


def _admits(origin: str | None, own: origins.Origin | None) -> bool:
    trusted, further = tuple(django_settings.CSRF_TRUSTED_ORIGINS), settings().origins or ()
    return origins.allowed(further, trusted).admits(origin, own)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    _refusals.note(
        f"A WebSocket to {shown(scope['path'])} was refused: no route matches. Live topics are at "
        f"/{settings().path}ws.",
        time.monotonic(),
    )
    await receive()
    await send({"type": "websocket.close"})


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Start the hub with the server. When the server stops, close all connections and let running calls finish.

    Responses without an end are closed earlier, at the signal that stops the server: most servers send
    ``lifespan.shutdown`` only when all responses have ended.
    """
    signals: EndSignals | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                service = wiring.service()
                await service.runtime.hub()
                service.revocation.started_before_anybody_came()
            except Exception as error:
                logger.exception("Holdfast could not start")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            signals = EndSignals(asyncio.get_running_loop(), service.runtime.leave)
            signals.follow()
            await send({"type": "lifespan.startup.complete"})
        else:
            if signals is not None:
                signals.leave()
            await shut_down()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def shut_down() -> None:
    """Stop the connections, calls, hub and threads of this process, in this order."""
    service = wiring.service()
    service.runtime.leave()
    for connection in tuple(service.connections):  # most servers have closed theirs by now
        connection.shut_down()
    try:
        async with asyncio.timeout(CALLS_MAY_TAKE_SECONDS):
            await service.calls.finish()
    except TimeoutError:
        logger.warning("calls were still running after %g seconds; cancelling them", CALLS_MAY_TAKE_SECONDS)
    await service.boundary.stop()
    await service.runtime.stop()

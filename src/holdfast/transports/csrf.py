"""Django's protection against cross-site request forgery, for requests that carry a session's cookie."""

from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from holdfast.threads.threads import Threads

from .asgi import Scope


def _respond(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _passes(scope: Scope) -> bool:
    request: Any = ASGIRequest(scope, BytesIO())  # the token is in a header
    if settings.CSRF_USE_SESSIONS:
        SessionMiddleware(_respond).process_request(request)
    check = CsrfViewMiddleware(_respond)
    check.process_request(request)
    return check.process_view(request, _view, (), {}) is None


async def passes_csrf(scope: Scope, threads: Threads) -> bool:
    """Return whether Django would accept this POST: an origin that belongs to the request, and the token in the header
    ``X-CSRFToken`` (or what ``CSRF_HEADER_NAME`` says).

    With ``CSRF_USE_SESSIONS`` the token is in the session, which is read in a worker thread.
    """
    if settings.CSRF_USE_SESSIONS:
        return await threads.run(_passes, scope)
    return _passes(scope)

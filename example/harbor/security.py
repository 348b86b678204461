"""A content security policy: scripts come from this site's files, or bear this response's nonce."""

import secrets
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; connect-src 'self' ws://{host} wss://{host}; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware; `{% live_script %}` finds the nonce on the request. Django 6 has one of its own."""

    def respond(request: HttpRequest) -> HttpResponse:
        nonce = secrets.token_urlsafe(16)
        request.csp_nonce = nonce
        response = get_response(request)
        if settings.DEBUG and response.status_code >= 400:
            return response  # Django's pages for developers have inline styles and scripts
        policy = POLICY.format(nonce=nonce, host=request.get_host())
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return respond

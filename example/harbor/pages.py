"""Harbor's page for addresses that do not exist or are not open, also while Django's debug mode shows its own."""

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render


class FriendlyRefusals:
    """A middleware. A view that raises ``Http404`` or ``PermissionDenied`` answers with not_found.html.

    Both look alike, so a visitor does not learn which rooms exist. Django's own page is still shown for an address
    that no URL pattern matches: that is a developer's mistake and not a visitor's.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if request.path.startswith("/admin/") or not isinstance(exception, Http404 | PermissionDenied):
            return None
        return render(request, "harbor/not_found.html", status=404)

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from .notes.live import Board, Noted


def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user} of {connection.schema_name}")


def note(request: HttpRequest, board: str) -> HttpResponse:
    """Publish from a view of a tenant."""
    Board(tenant=connection.schema_name, board=board).publish(Noted(0, "from a view"))
    return HttpResponse("noted")


urlpatterns = [path("me/", me), path("note/<slug:board>/", note)]

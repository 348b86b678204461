import os

from django.http import HttpRequest, HttpResponse
from django.urls import path


async def pid(request: HttpRequest) -> HttpResponse:
    """Return the id of the process that answers."""
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("pid/", pid)]

"""Signing in, publishing, and being asked whether the server is up."""

import os
import time

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from .live import Room, Shouted


def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a user in on one device, which is a client of the crowd."""
    user = User.objects.get(username=request.GET["user"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session["client"] = request.GET["client"]
    return HttpResponse("signed in")


def publish(request: HttpRequest, room: str, value: str) -> HttpResponse:
    """Publish, and say in which process."""
    Room(room=room).publish(Shouted(value, time.monotonic()))
    return HttpResponse(str(os.getpid()))


async def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")

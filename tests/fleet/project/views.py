"""Views that sign users in, publish, and answer whether the server is up."""

import os
import threading
import time
from pathlib import Path

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from .live import Room, Shouted, Tick, Ticker


def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a user in on one device, which is a client of the crowd."""
    user = User.objects.get(username=request.GET["user"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session["client"] = request.GET["client"]
    return HttpResponse("signed in")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("signed out")


def publish(request: HttpRequest, room: str, value: str) -> HttpResponse:
    """Publish, and return the id of this process."""
    Room(room=room).publish(Shouted(value, time.monotonic()))
    return HttpResponse(str(os.getpid()))


def publish_many(request: HttpRequest, count: int) -> HttpResponse:
    """Publish one durable event and ``count`` ephemeral ones; return the id of this process, and its open files and threads."""
    Room(room="many").publish(Shouted(f"{os.getpid()}-{time.monotonic_ns()}", 0.0))
    for number in range(count):
        Ticker(symbol="many").publish(Tick(str(number), 0.0))
    files = len(list(Path("/proc/self/fd").iterdir()))
    return HttpResponse(f"{os.getpid()} {files} {threading.active_count()}")


async def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")

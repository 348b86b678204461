"""Pages that sign users in and out, and that give rights to rooms and withdraw them."""

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from .live import Room
from .models import Membership


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    login(request, User.objects.get(username=name))
    return HttpResponse(request.session.session_key)


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("signed out")


def admit(request: HttpRequest, room: str, name: str) -> HttpResponse:
    """Make a user a member of a room."""
    Membership.objects.create(room=room, user=User.objects.get(username=name))
    return HttpResponse("admitted")


def withdraw(request: HttpRequest, room: str, name: str) -> HttpResponse:
    """Remove a member. The parameter ``how`` says what the project does besides: ``evict``, ``recheck`` or nothing."""
    user = User.objects.get(username=name)
    how = request.GET.get("how")
    with transaction.atomic():
        Membership.objects.filter(room=room, user=user).delete()
        if how == "evict":
            Room(room=room).evict(user)
        elif how == "recheck":
            Room(room=room).recheck()
    return HttpResponse("withdrawn")

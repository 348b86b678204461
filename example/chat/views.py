"""The pages. What changes on them while they are open is in live.py."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from chat import history, live
from chat.models import BODY_LENGTH, Message, Room


@require_GET
@login_required
def rooms(request: HttpRequest) -> HttpResponse:
    return render(request, "chat/rooms.html", {"rooms": Room.objects.open_to(request.user)})


@require_GET
@login_required
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """One room with its newest messages. A room that is closed to the caller looks like one that does not exist."""
    rooms = Room.objects.open_to(request.user)
    room = get_object_or_404(rooms, slug=slug)
    topic = live.Room(room=slug)
    # The messages and the position from which the browser goes on belong to the same instant, so that nothing posted
    # between rendering and joining is missed or shown twice.
    position, page = topic.consistent_read(lambda: history.page(room))
    return render(
        request,
        "chat/room.html",
        {
            "rooms": rooms,
            "room": room,
            "page": page,
            "topic": topic,
            "position": position,
            "body_length": BODY_LENGTH,
            "digests": settings.CELERY_BROKER_URL is not None,
        },
    )


@require_GET
@login_required
def messages(request: HttpRequest, slug: str) -> HttpResponse:
    """The messages before the one with the id `before`, or the newest: `{"messages": […], "more": true}`."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    before = request.GET.get("before")
    # Ids are 64 bits wide; a longer number would be an error in the database instead of one of the caller.
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) <= 18):
        return HttpResponseBadRequest("before: expected a message's id")
    page = history.page(room, before=None if before is None else int(before))
    return JsonResponse({"messages": [as_json(message) for message in page.messages], "more": page.more})


@require_POST
@login_required
def digest(request: HttpRequest, slug: str) -> HttpResponse:
    """Have a Celery worker say in the room what has been going on in it. Without one there is nobody to do so."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    if settings.CELERY_BROKER_URL is None:
        raise Http404
    from chat import tasks  # only with a broker need Celery be installed

    tasks.digest.delay(room.slug)
    return redirect(room)


def as_json(message: Message) -> dict[str, Any]:
    """A message in the form of the event `message.posted`."""
    return {"id": message.pk, "author": message.author.username, "body": message.body, "at": message.at}

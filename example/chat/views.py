"""Pages of the chat. live.py has the topics that change them while they are open."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from chat import history, live, posting
from chat.models import BODY_LENGTH, Message, Room

FOUND = 50
"""Messages that a search shows at most."""


@require_GET
@login_required
def rooms(request: HttpRequest) -> HttpResponse:
    return render(request, "chat/rooms.html", sidebar(request))


# --8<-- [start:room]
def sidebar(request: HttpRequest) -> dict[str, Any]:
    """The caller's rooms with their news, and the position from which the list goes on."""
    mine = live.MyRooms(me=request.user.pk)
    rooms = Room.objects.open_to(request.user).with_news_for(request.user)
    position, shown = mine.consistent_read(lambda: list(rooms))
    return {"rooms": shown, "my_rooms": mine, "my_position": position}


@require_GET
@login_required
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """One room with its newest messages. A room that is closed to the caller looks like one that does not exist."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    topic = live.Room(room=slug)
    # The messages and the position from which the browser goes on belong to the same instant, so that nothing posted
    # between rendering and joining is missed or shown twice.
    position, page = topic.consistent_read(lambda: history.page(room))
    return render(
        request,
        "chat/room.html",
        {
            **sidebar(request),
            "room": room,
            "page": page,
            "topic": topic,
            "position": position,
            "body_length": BODY_LENGTH,
            "digests": settings.CELERY_BROKER_URL is not None,
        },
    )


# --8<-- [end:room]


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


@require_GET
@login_required
def search(request: HttpRequest, slug: str) -> HttpResponse:
    """The newest messages of a room that have the given words in them."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    words = request.GET.get("words", "").strip()[:100]
    newest = room.messages.select_related("author").order_by("-id")
    found = list(newest.filter(body__icontains=words)[: FOUND + 1]) if words and "\0" not in words else []
    context = {"room": room, "words": words, "found": found[:FOUND], "more": len(found) > FOUND}
    return render(request, "chat/search.html", sidebar(request) | context)


@require_POST
@login_required
def say(request: HttpRequest, slug: str) -> HttpResponse:
    """Post from a page without JavaScript. The other members see the message at once all the same."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    body = request.POST.get("body", "").strip()
    if body and "\0" not in body and len(body) <= BODY_LENGTH:
        posting.say(room, request.user, body)
    return redirect(room)


@require_POST
@login_required
def digest(request: HttpRequest, slug: str) -> HttpResponse:
    """Have a Celery worker post a digest of the room into it. Without a broker there is no worker for that."""
    room = get_object_or_404(Room.objects.open_to(request.user), slug=slug)
    if settings.CELERY_BROKER_URL is None:
        raise Http404
    from chat import tasks  # only with a broker need Celery be installed

    tasks.digest.delay(room.slug)
    return redirect(room)


def as_json(message: Message) -> dict[str, Any]:
    """A message in the form of the event `message.posted`."""
    return {"id": message.pk, "author": message.author.username, "body": message.body, "at": message.at}

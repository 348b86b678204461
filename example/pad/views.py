"""Pages of the pads. live.py has the topic that changes them while they are open."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from pad import live
from pad.models import Pad


@require_GET
@login_required
def pads(request: HttpRequest) -> HttpResponse:
    return render(request, "pad/pads.html", {"pads": Pad.objects.all()})


# --8<-- [start:pad]
@require_GET
@login_required
def pad(request: HttpRequest, slug: str) -> HttpResponse:
    """One pad. The page has its text, to be read without a script, and the document that the script goes on with."""
    pad = get_object_or_404(Pad, slug=slug)
    topic = live.Pad(pad=slug)
    context = {
        "pad": pad,
        "topic": topic,
        "document": topic.document(),
        "writable": topic.may_write(request.user),
    }
    return render(request, "pad/pad.html", context)


# --8<-- [end:pad]

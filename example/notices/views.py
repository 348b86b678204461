from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from notices.live import Inbox, NoticesRead
from notices.models import Notice

SHOWN = 50


@require_GET
@login_required
def inbox(request: HttpRequest) -> HttpResponse:
    return render(
        request, "notices/inbox.html", {"notices": Notice.objects.filter(user=request.user)[:SHOWN]}
    )


@require_POST
@login_required
def read_all(request: HttpRequest) -> HttpResponse:
    """The button of a page without JavaScript."""
    with transaction.atomic():
        newest = Notice.objects.filter(user=request.user, read=False).first()
        if newest is not None:
            Notice.objects.filter(user=request.user, pk__lte=newest.pk).update(read=True)
            Inbox(me=request.user.pk).publish(NoticesRead(up_to=newest.pk))
    return redirect("notices:inbox")

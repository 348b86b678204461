"""Context of every page: the number on the bell, and the position from which the page goes on."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from notices.live import Inbox
from notices.models import Notice


def bell(request: HttpRequest) -> dict[str, Any]:
    """A context processor. It asks the database when a template uses it, which pages of visitors without an account do not."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}

    def read() -> dict[str, Any]:
        inbox = Inbox(me=user.pk)
        position, unread = inbox.consistent_read(
            lambda: list(Notice.objects.filter(user=user, read=False).values_list("pk", flat=True))
        )
        return {"topic": inbox, "position": position, "unread": unread}

    return {"bell": SimpleLazyObject(read)}

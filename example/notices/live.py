"""The inbox of each user: one topic, on all their pages and devices, kept while they are away."""

from datetime import datetime
from typing import Any

from django.db import transaction
from holdfast import Event, Keep, Topic, action

from notices.models import Notice


class NoticeAdded(Event):
    id: int
    text: str
    url: str
    at: datetime


class NoticesRead(Event):
    """All notices up to the one with this id are read, on every device."""

    up_to: int


class Inbox(Topic):
    route = "inbox/<me>"
    events = [NoticeAdded, NoticesRead]
    keep = Keep(days=14)

    def may_join(self, user: Any) -> bool:
        return True  # `<me>` has let in only the user

    @action
    def read(self, caller: Any, up_to: int) -> int:
        """Mark all notices up to this id as read; returns how many were not."""
        unread = Notice.objects.filter(user=caller.user, read=False, pk__lte=up_to)
        count: int = unread.update(read=True)
        if count:
            self.publish(NoticesRead(up_to=up_to))
        return count


def notify(user: Any, text: str, url: str = "") -> Notice:
    """Leave a notice for a user. Their open pages show it as soon as the caller's transaction commits."""
    with transaction.atomic():
        notice = Notice.objects.create(user=user, text=text, url=url)
        Inbox(me=user.pk).publish(NoticeAdded(id=notice.pk, text=text, url=url, at=notice.at))
    return notice

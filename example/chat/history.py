"""A room's messages, a page at a time."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from django.utils.timezone import localdate

from chat.models import Message, Room

PAGE = 50
GROUP = timedelta(minutes=10)  # as in messages.js


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Neighbouring messages, oldest first. `more` says whether there are older ones."""

    messages: list[Message]
    more: bool

    def continued(self) -> set[int]:
        """The ids of messages that need no name above them: by the author of the one before, soon after it, on the same day."""
        return {
            after.pk
            for before, after in pairwise(self.messages)
            if before.author_id == after.author_id
            and after.at - before.at < GROUP
            and localdate(before.at) == localdate(after.at)
        }


def page(room: Room, *, before: int | None = None, size: int = PAGE) -> Page:
    """The newest messages, or the newest of those with an id below `before`."""
    newest_first = room.messages.select_related("author").order_by("-id")
    if before is not None:
        newest_first = newest_first.filter(id__lt=before)
    found = list(newest_first[: size + 1])
    return Page(messages=found[:size][::-1], more=len(found) > size)

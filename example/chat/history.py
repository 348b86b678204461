"""A room's messages, a page at a time."""

from dataclasses import dataclass

from chat.models import Message, Room

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Neighbouring messages, oldest first. `more` says whether there are older ones."""

    messages: list[Message]
    more: bool


def page(room: Room, *, before: int | None = None, size: int = PAGE) -> Page:
    """The newest messages, or the newest of those with an id below `before`."""
    newest_first = room.messages.select_related("author").order_by("-id")
    if before is not None:
        newest_first = newest_first.filter(id__lt=before)
    found = list(newest_first[: size + 1])
    return Page(messages=found[:size][::-1], more=len(found) > size)

"""Two pages of the logbook, and a few comments."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.utils import timezone

from logbook.models import Comment, Entry

ENTRIES = [
    (
        "ada",
        "The night of the gale",
        """South-west nine at two in the morning, eleven at four. Everything along the outer wall lay on doubled lines.

Lost: one fender, found again at first light. Damaged: a bin lid. The visitors' boats did not move.""",
        [
            ("linus", "The third bollard deserves a mention. It held two boats."),
            ("grace", "And the lemon cake."),
        ],
    ),
    (
        "grace",
        "A new staff for the tide gauge",
        "The old one agreed with the water twice a day. The new one agrees all day, and can be read from the bridge.",
        [("ada", "I read it from my bed this morning. 1.86.")],
    ),
]


def seed(users: dict[str, Any]) -> Iterator[str]:
    if Entry.objects.exists():
        yield "The logbook is written already."
        return
    now = timezone.now()
    for days, (author, title, body, comments) in enumerate(ENTRIES, 1):
        at = now - timedelta(days=days)
        entry = Entry.objects.create(author=users[author], title=title, body=body, at=at)
        Comment.objects.bulk_create(  # which sends no signal: nothing is published for what has long happened
            Comment(entry=entry, author=users[name], body=text, at=at + timedelta(hours=hours))
            for hours, (name, text) in enumerate(comments, 1)
        )
    yield f"The logbook: {len(ENTRIES)} entries."

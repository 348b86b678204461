"""Work for a Celery worker. It publishes as a view does, to the subscribers on every server."""

from collections import Counter
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import posting
from chat.models import Room
from harbor.celery import app

HARBORMASTER = "harbormaster"
SPAN = timedelta(hours=24)


@app.task(name="chat.digest")
def digest(slug: str) -> int:
    """Post how many messages each member has written lately; return the message's id. Message and event commit together."""
    room = Room.objects.get(slug=slug)
    author, made = get_user_model().objects.get_or_create(username=HARBORMASTER)
    if made:
        author.set_unusable_password()
        author.save()
    said = room.messages.filter(at__gte=timezone.now() - SPAN).exclude(author=author)
    message = posting.say(room, author, summary(Counter(said.values_list("author__username", flat=True))))
    return message.pk


def summary(counts: Counter[str]) -> str:
    if not counts:
        return "The last 24 hours: all quiet."
    total = counts.total()
    people = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return f"The last 24 hours: {total} message{'s' if total > 1 else ''}. {people}."

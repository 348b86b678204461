"""Saying something in a room: the one way for the action, the form of a page without JavaScript, and the Celery task."""

from typing import Any

import holdfast
from django.db import transaction

from chat.models import Message, Room

SHOWN = 120
"""Characters of a message that the list of rooms shows."""


def say(room: Room, author: Any, body: str) -> Message:
    """Post a message. It, its event in the room, and the news for each member's list of rooms commit together."""
    from chat import live

    with transaction.atomic():
        message = Message.objects.create(room=room, author=author, body=body)
        by = author.get_username()
        posted = live.MessagePosted(id=message.pk, author=by, body=body, at=message.at)
        news = live.RoomNews(room=room.slug, id=message.pk, author=by, body=body[:SHOWN])
        members = room.memberships.values_list("user_id", flat=True)
        holdfast.publish(
            [(live.Room(room=room.slug), posted), *((live.MyRooms(me=pk), news) for pk in members)]
        )
    return message

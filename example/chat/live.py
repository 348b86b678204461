"""What is live in a chat room."""

from datetime import datetime
from typing import Annotated, Any

from holdfast import Event, Keep, Presence, Refuse, Topic, action
from msgspec import Meta

from chat import models


class MessagePosted(Event):
    """Somebody said something; on the wire `message.posted`."""

    id: int
    author: str
    body: str
    at: datetime


class Typing(Event, durable=False):
    """Somebody is writing. It passes through and is never stored."""

    author: str


class Room(Topic):
    """One chat room, for its members."""

    route = "rooms/<slug:room>"
    events = [MessagePosted, Typing]
    keep = Keep(days=30)
    presence = Presence()

    room: str

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated and models.Room.objects.open_to(user).filter(slug=self.room).exists()

    def presence_meta(self, user: Any) -> dict[str, str]:
        """What those in the room are told of each other."""
        return {"name": user.get_username()}

    @action
    def post(
        self, caller: Any, body: Annotated[str, Meta(min_length=1, max_length=models.BODY_LENGTH)]
    ) -> int:
        """Say something; returns the message's id. The message and its event are committed together."""
        if not body.strip():
            raise Refuse("empty")
        room = models.Room.objects.get(slug=self.room)
        message = models.Message.objects.create(room=room, author=caller.user, body=body)
        self.publish(MessagePosted(id=message.pk, author=caller.user.username, body=body, at=message.at))
        return message.pk

    @action(once=False)
    async def typing(self, caller: Any) -> None:
        """Tell the others that the caller is writing."""
        await self.apublish(Typing(author=caller.user.username), exclude=caller)

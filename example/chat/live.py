"""Topics of a chat room, and of the list of a user's rooms."""

from datetime import datetime
from typing import Annotated, Any

from holdfast import Event, Keep, Presence, Refuse, Topic, action
from msgspec import Meta

from chat import models, posting


class MessagePosted(Event):
    """A message was posted; on the wire `message.posted`."""

    id: int
    author: str
    body: str
    at: datetime


class Typing(Event, durable=False):
    """A member is writing. The event is never stored."""

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
        """The information about a member that the other members get."""
        return {"name": user.get_username()}

    @action
    def post(
        self, caller: Any, body: Annotated[str, Meta(min_length=1, max_length=models.BODY_LENGTH)]
    ) -> int:
        """Say something; returns the message's id. The message and its event are committed together."""
        if not body.strip():
            raise Refuse("empty")
        return posting.say(models.Room.objects.get(slug=self.room), caller.user, body).pk

    @action(once=False)
    async def typing(self, caller: Any) -> None:
        """Tell the others that the caller is writing."""
        await self.apublish(Typing(author=caller.user.username), exclude=caller)


class RoomNews(Event):
    """A message was said in one of the user's rooms; what their list of rooms shows of it."""

    room: str
    id: int
    author: str
    body: str


class RoomRead(Event):
    """The user has read a room up to the message with this id, on some device."""

    room: str
    up_to: int


class MyRooms(Topic):
    """The list of rooms of one user. It joins no room, so it is counted nowhere as being present."""

    route = "my-rooms/<me>"
    events = [RoomNews, RoomRead]
    keep = Keep(days=7)

    def may_join(self, user: Any) -> bool:
        return True  # `<me>` has let in only the user

    @action(once=False)
    def read(self, caller: Any, room: str, up_to: int) -> None:
        """Note that the caller has read a room up to a message; their other devices show it."""
        unread = models.Membership.objects.filter(user=caller.user, room__slug=room, read_up_to__lt=up_to)
        if unread.update(read_up_to=up_to):
            self.publish(RoomRead(room=room, up_to=up_to))

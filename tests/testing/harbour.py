"""Topics of a small app, for tests of the clients.

Users are in a room when they are in the group of its name. Each message is stored as one more group, because the tests
need some row and not a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import transaction
from msgspec import Meta

from holdfast import Event, Keep, Refuse, Slow, Topic, action
from holdfast.topics.registry import registry


class MessagePosted(Event):
    id: int
    author: str
    body: str
    at: datetime | None = None


class Typing(Event, durable=False):
    author: str


class Elsewhere(Event):
    topic: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [MessagePosted, Typing]
    keep = Keep(days=30)

    room: str

    def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated and user.groups.filter(name=self.room).exists())

    @action
    def post(self, caller: Any, body: Annotated[str, Meta(min_length=1)]) -> int:
        said = Group.objects.create(name=body)
        self.publish(MessagePosted(said.pk, caller.user.username, body))
        return said.pk

    @action
    def post_and_think_again(self, caller: Any, body: str) -> int:
        """Publish twice, once in a savepoint that rolls back."""
        try:
            with transaction.atomic():
                self.publish(MessagePosted(0, caller.user.username, "never"))
                raise LookupError
        except LookupError:
            pass
        self.publish(MessagePosted(1, caller.user.username, body))
        return 1

    @action
    def post_later(self, caller: Any, body: str) -> None:
        transaction.on_commit(lambda: self.publish(MessagePosted(2, caller.user.username, body)))

    @action
    def refuse(self, caller: Any) -> None:
        self.publish(MessagePosted(0, caller.user.username, "refused"))
        raise Refuse("too_late", "It is over.", retry_after=7)

    @action
    def fail(self, caller: Any) -> None:
        raise ZeroDivisionError("handlers fail")

    @action
    def exhaust(self, caller: Any) -> None:
        next(iter(()))

    @action
    async def exhaust_in_thread(self, caller: Any) -> None:
        """Raise ``StopIteration`` in the thread that an ``async def`` handler uses."""
        await sync_to_async(next)(iter(()))

    @action(rate="2/h")
    def knock(self, caller: Any) -> str:
        return str(caller.user.username)

    @action
    async def typing(self, caller: Any) -> None:
        await self.apublish(Typing(caller.user.username), exclude=caller)

    @action
    async def count(self, caller: Any) -> int:
        """Query the database as async code does."""
        return await Group.objects.acount()

    @action
    async def careless(self, caller: Any) -> int:
        """Query the database as only synchronous code may."""
        return Group.objects.count()


class Inbox(Topic):
    route = "inbox/<me>"
    events = [Elsewhere]

    me: str

    async def may_join(self, user: Any) -> bool:
        return bool(user.is_active)

    def snapshot(self) -> dict[str, str]:
        return {"of": self.me}


class Moved(Event, durable=False):
    ship: str
    knots: int


class Radar(Topic):
    route = "radar"
    events = [Moved]
    slow = Slow.conflate("ship", rate="10/s")

    async def may_join(self, user: Any) -> bool:
        return True


TOPICS = [Room, Inbox, Radar]


@contextmanager
def harbour() -> Iterator[None]:
    """Register these topics and no others."""
    with registry.override(TOPICS):
        yield


def person(name: str, *rooms: str) -> User:
    """Return a user who is in some rooms."""
    user = User.objects.create_user(name)
    user.groups.set([Group.objects.get_or_create(name=room)[0] for room in rooms])
    return user

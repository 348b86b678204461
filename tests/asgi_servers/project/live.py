"""Topics of every kind."""

import asyncio
import threading
import time
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.db import connection
from msgspec import Meta

from holdfast import Event, Keep, Refuse, Slow, Topic, action, anyone

from .models import Membership, Saying


class Said(Event):
    id: int
    text: str


class Typing(Event, durable=False):
    author: str


class Room(Topic):
    """Durable. All users may join, except in rooms that have members."""

    route = "rooms/<slug:room>"
    events = [Said, Typing]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        members = set(Membership.objects.filter(room=self.room).values_list("user_id", flat=True))
        return user.pk in members or (not members and not self.room.startswith("private"))

    @action
    def say(self, caller: Any, text: Annotated[str, Meta(min_length=1, max_length=20000)]) -> int:
        saying = Saying.objects.create(room=self.room, text=text)
        self.publish(Said(saying.pk, text))
        return saying.pk

    @action
    def say_to_others(self, caller: Any, text: str) -> None:
        self.publish(Said(0, text), exclude=caller)

    @action
    async def typing(self, caller: Any) -> None:
        await self.apublish(Typing(str(caller.user)), exclude=caller)

    @action
    def slowly(self, caller: Any, seconds: float) -> int:
        """A ``def`` that takes its time before it does its work."""
        time.sleep(min(seconds, 5))
        return Saying.objects.create(room=self.room, text="slowly").pk

    @action
    async def wait(self, caller: Any, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"

    @action
    def big(self, caller: Any, length: int) -> str:
        return "x" * length

    @action
    def refuse(self, caller: Any) -> None:
        raise Refuse("too_late", "The auction has ended.")


class News(Topic):
    """Its history may be kept by caches."""

    route = "news/<slug:about>"
    events = [Said]
    keep = Keep(public=True)
    may_join = anyone


class Ticker(Topic):
    """Passes through and stores nothing."""

    route = "tickers/<slug:symbol>"
    events = [Typing]

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def burst(self, caller: Any, count: int) -> int:
        """Publishes everything in one turn of the event loop."""
        await self.apublish(*(Typing(f"{number:06}") for number in range(count)))
        return count


class Price(Event):
    symbol: str
    amount: int
    note: str


class Prices(Topic):
    """A topic on which only the latest price of each symbol waits for a slow client."""

    route = "prices/<slug:market>"
    events = [Price]
    slow = Slow.conflate("symbol")

    async def may_join(self, user: Any) -> bool:
        return True


class Quotes(Prices):
    """Five prices of a symbol in a second, for those that read too."""

    route = "quotes/<slug:market>"
    slow = Slow.conflate("symbol", rate="5/s")


class Feed(Topic):
    """A topic that may miss nothing: a slow client starts over."""

    route = "feeds/<slug:symbol>"
    events = [Typing]
    slow = Slow.disconnect()

    async def may_join(self, user: Any) -> bool:
        return True


class Inbox(Topic):
    """One for each user."""

    route = "inbox/<me>"
    events = [Said]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True


class Board(Topic):
    """Sends new subscribers the messages so far as a snapshot."""

    route = "boards/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True

    def snapshot(self) -> list[str]:
        return list(Saying.objects.filter(room=self.room).order_by("pk").values_list("text", flat=True))

    @action
    def add(self, caller: Any, text: str) -> int:
        saying = Saying.objects.create(room=self.room, text=text)
        self.publish(Said(saying.pk, text))
        return saying.pk


class Asynchronous(Topic):
    """All its handlers are ``async def``, and all of them use the ORM."""

    route = "asynchronous/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    async def may_join(self, user: Any) -> bool:
        return not await Membership.objects.filter(room=self.room).aexists()

    async def may_call(self, caller: Any, action: str) -> bool:
        return not await Membership.objects.filter(room=self.room).aexists()

    @action
    async def say(self, caller: Any, text: str) -> int:
        saying = await Saying.objects.acreate(room=self.room, text=text)
        await self.apublish(Said(saying.pk, text))
        return saying.pk

    @action
    async def connection(self, caller: Any) -> list[int]:
        """Return the thread and the connection to PostgreSQL that the ORM used; twice, with a pause."""
        first = await sync_to_async(_thread_and_backend)()
        await asyncio.sleep(0.05)
        return [*first, *await sync_to_async(_thread_and_backend)()]


def _thread_and_backend() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return [threading.get_ident(), cursor.fetchone()[0]]


class Closed(Topic):
    """A topic without a rule, which refuses every client."""

    route = "closed/<slug:room>"
    events = [Said]

    @action
    def say(self, caller: Any, text: str) -> None:
        Saying.objects.create(room=self.room, text=text)

    @action
    async def say_async(self, caller: Any, text: str) -> None:
        await Saying.objects.acreate(room=self.room, text=text)


class Desk(Topic):
    """All users may join. Members may also ``sign``, and members with the permission may ``erase``."""

    route = "desks/<slug:room>"
    events = [Said]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)

    def may_call(self, caller: Any, action: str) -> bool:
        return Membership.objects.filter(room=self.room, user=caller.user).exists()

    @action
    def sign(self, caller: Any, text: str) -> int:
        saying = Saying.objects.create(room=self.room, text=text)
        self.publish(Said(saying.pk, text))
        return saying.pk

    @action(requires="auth.delete_user")
    def erase(self, caller: Any) -> None:
        Saying.objects.filter(room=self.room).delete()


class Target(Topic):
    """The topic that tests/attacks attacks."""

    route = "targets/<slug:room>"
    events = [Said]

    def may_join(self, user: Any) -> bool:
        return not Membership.objects.filter(room=self.room).exists()

    @action
    def quick(self, caller: Any) -> int:
        return Saying.objects.filter(room=self.room).count()

    @action(timeout=0.2)
    def nap(self, caller: Any, seconds: float) -> None:
        """Occupies its thread, also after the client got its answer."""
        Saying.objects.create(room=self.room, text="napped")
        time.sleep(min(seconds, 5))

    @action(rate="1/h")
    def seldom(self, caller: Any) -> None:
        Saying.objects.create(room=self.room, text="seldom")

    @action
    async def nap_async(self, caller: Any, seconds: float) -> None:
        await sync_to_async(time.sleep)(min(seconds, 5))

    @action
    async def quick_async(self, caller: Any) -> int:
        return await Saying.objects.filter(room=self.room).acount()

    @action
    def fail(self, caller: Any) -> None:
        raise ZeroDivisionError("as the client has asked")

    @action
    def large(self, caller: Any, length: int) -> str:
        return "x" * length

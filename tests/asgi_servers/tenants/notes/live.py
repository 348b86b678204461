"""Topics of tenants: the tenant is in the route, so that each has topics of its own."""

from typing import Any

from django.db import connection

from holdfast import Event, Keep, Topic, action

from .models import Note


class Noted(Event):
    id: int
    text: str


class Board(Topic):
    route = "<slug:tenant>/boards/<slug:board>"
    events = [Noted]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated and connection.schema_name == self.tenant

    def snapshot(self) -> list[str]:
        return list(Note.objects.filter(board=self.board).order_by("pk").values_list("text", flat=True))

    @action
    def add(self, caller: Any, text: str) -> str:
        note = Note.objects.create(board=self.board, text=text)
        self.publish(Noted(note.pk, text))
        return str(caller.user)

    @action
    async def add_on_the_loop(self, caller: Any, text: str) -> str:
        note = await Note.objects.acreate(board=self.board, text=text)
        await self.apublish(Noted(note.pk, text))
        return str(caller.user)


class Desk(Topic):
    """Its handlers choose schemas by themselves, or forget to."""

    route = "desk"

    def may_join(self, user: Any) -> bool:
        return True

    @action
    def choose(self, caller: Any, schema: str) -> None:
        connection.set_schema(schema)

    @action
    def where(self, caller: Any) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SHOW search_path")
            return [connection.schema_name, cursor.fetchone()[0]]

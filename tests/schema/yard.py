"""Topics with one of everything that a contract can hold."""

import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

from django.db.models import TextChoices
from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast import Event, Keep, Presence, Slow, Topic, action

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class State(TextChoices):
    NEW = "new", "New"
    PAID = "paid", "Paid"


class Point(Struct):
    """A place on the chart."""

    x: int
    y: float = 0.0


class Hull(Struct, tag="hull"):
    length: int


class Sail(Struct, tag="sail", rename="camel"):
    sail_area: int
    parts: "list[Sail]" = []


class Page(Struct, Generic[T]):
    items: list[T]


class Price(NamedTuple):
    amount: Decimal
    currency: str


class Extra(TypedDict):
    note: str
    seen: NotRequired[bool]


@dataclass
class Crew:
    name: str
    rank: int = 1


class Built(Event):
    """A boat was built."""

    id: UUID
    at: datetime
    day: date
    took: timedelta
    colour: Colour
    state: State
    place: Point
    part: Hull | Sail
    price: Price
    crew: list[Crew]
    extra: Extra
    size: Literal[1, 2, "big"]
    page: Page[int]
    by_id: dict[int, Point]
    anything: Any = None
    owner: str | None = None
    hidden: str | UnsetType = UNSET
    name: Annotated[str, Meta(min_length=1, max_length=80, description="As painted on the stern.")] = "Argo"


class Creak(Event, durable=False, name="hull:creak"):
    loud: Annotated[int, Meta(ge=1, le=5)]


class Yard(Topic):
    """One yard, and the boats in it.

    This paragraph is not for clients.
    """

    route = "yards/<slug:yard>"
    events = [Built, Creak]
    keep = Keep(days=7, count=100)
    presence = Presence(anonymous=False)
    requires = "yard.view_yard"

    async def presence_meta(self, user: Any) -> Crew:
        return Crew("Ada")

    def snapshot(self) -> Page[Point]:
        return Page(items=[Point(1)])

    @action(rate="5/s", requires="yard.add_boat")
    async def build(
        self,
        caller: Any,
        place: Point,
        name: Annotated[str, Meta(max_length=80)],
        colour: Colour = Colour.RED,
        price: Decimal | None = None,
    ) -> UUID:
        """Build a boat; returns its id."""
        raise NotImplementedError

    @action(once=False)
    async def creak(self, caller: Any) -> None: ...

    @action(name="look-up")
    async def look_up(self, caller: Any, text: str = "") -> dict[str, Point]:
        return {text: Point(1)}


class Slip(Topic):
    route = "yards/<slug:yard>/slips/<int:slip>"
    events = [Creak]
    slow = Slow.drop()

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def untyped(self, caller: Any, what: Any):  # type: ignore[no-untyped-def]
        return what


class Tide(Topic):
    route = "tide"
    events = [Creak]


TOPICS = (Tide, Yard, Slip)

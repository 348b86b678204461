"""Encoding: values common in Django's code can be sent; values that a browser cannot read are refused, with their path."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Literal

import msgspec
import pytest
from django.db import models
from django.template import Context, Template
from django.utils import translation
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, ngettext_lazy

from holdfast import Event, Presence, Refuse, Topic, action
from holdfast.connections.authorization import may_join
from holdfast.threads.threads import Threads
from holdfast.topics.encoding import LARGEST, vouches
from tests.support.clock import in_jumping_time
from tests.support.connected import User, fleet
from tests.support.identities import ANONYMOUS

from ..connections.test_reauthorize import inline


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Colour(models.TextChoices):
    RED = "red", gettext_lazy("Red")


class Size(models.IntegerChoices):
    SMALL = 1, "small"


class Plain(Enum):
    ONE = "one"


class Number(IntEnum):
    TWO = 2


@dataclass
class Point:
    x: Any


class Box(msgspec.Struct):
    inner: Any = msgspec.field(name="in")


SENDABLE: list[tuple[Callable[[], Any], Any]] = [
    (lambda: mark_safe("<b>hi</b>"), "<b>hi</b>"),
    (lambda: format_html("<b>{}</b>", "&"), "<b>&amp;</b>"),
    (lambda: Template("{{ x }}").render(Context({"x": "hi"})), "hi"),
    (lambda: gettext_lazy("Monday"), "Montag"),
    (lambda: ngettext_lazy("%d day", "%d days", 2) % 2, "2 days"),
    (lambda: lazystr("x"), "x"),
    (lambda: SimpleLazyObject(lambda: "x"), "x"),
    (lambda: SimpleLazyObject(lambda: {"a": Whole(1)}), {"a": 1}),
    (lambda: Text("x"), "x"),
    (lambda: Whole(3), 3),
    (lambda: Real(1.5), 1.5),
    (lambda: Colour.RED, "red"),
    (lambda: Colour.RED.label, "Red"),
    (lambda: Size.SMALL, 1),
    (lambda: Plain.ONE, "one"),
    (lambda: Number.TWO, 2),
    (
        lambda: {Text("k"): 1, mark_safe("s"): 2, gettext_lazy("Monday"): 3, Whole(7): 4, Colour.RED: 5},
        {"k": 1, "s": 2, "Montag": 3, "7": 4, "red": 5},
    ),
    (lambda: [Text("x"), {"a": (Whole(1), Box(Text("y")))}], ["x", {"a": [1, {"in": "y"}]}]),
    (lambda: [LARGEST, -LARGEST, 1.5, None, True], [LARGEST, -LARGEST, 1.5, None, True]),
    (lambda: {2**60: "a key is a text"}, {str(2**60): "a key is a text"}),
]

NAN = float("nan")
UNSENDABLE: list[tuple[Any, str, str]] = [
    (LARGEST + 1, "", "beyond"),
    (-LARGEST - 1, "", "beyond"),
    (10**40, "", "beyond"),
    (Whole(2**60), "", "beyond"),
    (NAN, "", "no number"),
    (float("inf"), "", "no number"),
    (Real("-inf"), "", "no number"),
    (b"x", "", "bytes cannot be read"),
    (bytearray(b"x"), "", "bytearray cannot be read"),
    ({"a": [1, {"id": 2**53}]}, "a[1].id", "beyond"),
    ([1, (2, NAN)], "[1][1]", "no number"),
    ({"p": Point(x=2**53)}, "p.x", "beyond"),
    ({"b": Box(2**53)}, "b.in", "beyond"),
    ([SimpleLazyObject(lambda: [2**53])], "[0][0]", "beyond"),
    ({b"x": 1}, "", "a key of a dict: bytes"),
    ({"a": {NAN: 1}}, "a", "a key of a dict: nan"),
    ({"a": [object()]}, "a[0]", "object"),
    ({"a": "\ud83d"}, "a", "surrogates not allowed"),
]


class Anything(Event):
    value: Any


class Hall(Topic):
    route = "halls/<int:hall>"
    events = [Anything]
    presence = Presence()
    value: Any = None
    meta: Any = None

    def may_join(self, user: Any) -> bool:
        return True

    def snapshot(self) -> Any:
        return Hall.value

    def presence_meta(self, user: Any) -> Any:
        return Hall.meta

    @action
    async def give(self, caller: Any) -> Any:
        return Hall.value

    @action
    async def refuse(self, caller: Any) -> None:
        raise Refuse(Hall.value, gettext_lazy("Monday"), retry_after=Whole(3))


sendable = pytest.mark.parametrize(("make", "wire"), SENDABLE)


def named(value: object) -> str:
    """The name of a case, the same in each process: without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


unsendable = pytest.mark.parametrize(("value", "place", "why"), UNSENDABLE, ids=named)


@pytest.fixture(autouse=True)
def _in_german(settings: Any) -> Any:
    settings.LANGUAGE_CODE = "de"  # what handlers start from
    with translation.override("de"):
        yield
    Hall.value = Hall.meta = None


@sendable
def test_an_event_holds_it(make: Callable[[], Any], wire: Any) -> None:
    assert json.loads(Anything(make()).encode()) == {"value": wire}


@sendable
@in_jumping_time
async def test_a_result_a_snapshot_and_presence_data_hold_it(make: Callable[[], Any], wire: Any) -> None:
    Hall.value = Hall.meta = make()
    async with fleet(Hall) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        joined = await socket.join("halls/1")
        assert joined["payload"]["snapshot"] == wire
        assert joined["payload"]["members"][0]["meta"] == wire
        socket.ask("halls/1", "give")
        (result,) = [frame for frame in await socket.hear() if frame["type"] == "result"]
        assert result["payload"] == wire


@unsendable
def test_an_event_refuses_an_unreadable_value_and_names_the_field(value: Any, place: str, why: str) -> None:
    dot = "" if not place or place.startswith("[") else "."
    with pytest.raises((TypeError, ValueError)) as raised:
        Anything(value).encode()
    assert str(raised.value).startswith(f"Anything.value{dot}{place}: ")
    assert why in str(raised.value)


@unsendable
@pytest.mark.parametrize("part", ["value", "meta"])
@in_jumping_time
async def test_a_snapshot_and_presence_data_refuse_it(
    part: str, value: Any, place: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    setattr(Hall, part, value)
    async with fleet(Hall) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        assert (await socket.join("halls/1"))["payload"]["code"] == "internal"
    method = {"value": "snapshot", "meta": "presence_meta"}[part]
    at = f" at {place}" if place else ""
    assert f"Hall.{method} returned a value that cannot be sent{at}: " in caplog.text
    assert why in caplog.text


@unsendable
def test_a_result_refuses_it(value: Any, place: str, why: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        Hall.declared.actions["give"].encode_result(value)
    assert "Hall.give returned" in str(raised.value)
    assert (f" at {place}" in str(raised.value)) == bool(place)
    assert why in str(raised.value)


def test_a_typed_field_is_checked_as_well() -> None:
    class Quote(Event):
        volume: int
        price: float | None = None

    assert json.loads(Quote(Whole(LARGEST), Real(1.5)).encode()) == {"volume": LARGEST, "price": 1.5}
    for quote, field in ((Quote(2**53), "volume"), (Quote(1, NAN), "price")):
        with pytest.raises(ValueError, match=rf"^Quote\.{field}: "):
            quote.encode()


@pytest.mark.parametrize(
    ("annotation", "yes"),
    [
        (str | None, True),
        (list[str], True),
        (Literal["a", 1], True),
        (Colour, True),
        (int, False),
        (float, False),
        (Any, False),
        (list[dict[str, Any]], False),
    ],
    ids=named,
)
def test_types_that_vouch_for_their_values_cost_no_look_at_them(annotation: Any, yes: bool) -> None:
    assert vouches(annotation) is yes


def test_choices_are_types_of_fields_arguments_and_results() -> None:
    class Painted(Event):
        colour: Colour
        sizes: list[Size] = []

    class Wall(Topic):
        route = "walls/<int:wall>"
        events = [Painted]

        @action
        def paint(self, caller: Any, colour: Colour) -> Colour:
            return colour

    assert json.loads(Painted(Colour.RED, [Size.SMALL]).encode()) == {"colour": "red", "sizes": [1]}
    assert Painted.decode(b'{"colour":"red","sizes":[1]}') == Painted(Colour.RED, [Size.SMALL])
    paint = Wall.declared.actions["paint"]
    assert paint.decode(b'{"colour":"red"}') == {"colour": Colour.RED}
    assert paint.encode_result(Colour.RED) == b'"red"'


@pytest.mark.parametrize("annotation", [bytes, bytearray, list[bytes], dict[str, bytes | None]], ids=repr)
def test_bytes_are_refused_where_they_are_declared(annotation: Any) -> None:
    event = type("Blob", (Event,), {"__annotations__": {"data": annotation}, "__module__": __name__})
    with pytest.raises(TypeError, match=r"field 'data': bytes cannot be read by a browser"):
        type("Bay", (Topic,), {"route": "bays/<int:bay>", "events": [event]})

    def load(self: Any, caller: Any):  # type: ignore[no-untyped-def]
        return b""

    load.__annotations__["return"] = annotation
    with pytest.raises(TypeError, match=r"the return annotation: bytes cannot be read by a browser"):
        type("Bay", (Topic,), {"route": "bays/<int:bay>", "load": action(load)})


def test_an_argument_may_be_bytes_as_they_come_in_as_text() -> None:
    class Bay(Topic):
        route = "bays/<int:bay>"

        @action
        def load(self, caller: Any, data: bytes) -> int:
            return len(data)

    arguments = json.dumps({"data": base64.b64encode(b"xyz").decode()}).encode()
    assert Bay.declared.actions["load"].decode(arguments) == {"data": b"xyz"}


# ── reasons ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Reason(models.TextChoices):
    FULL = "full"


@pytest.mark.parametrize("reason", [Reason.FULL, mark_safe("full"), Text("full")], ids=repr)
@in_jumping_time
async def test_a_refusal_and_an_eviction_carry_their_reason(reason: Any) -> None:
    Hall.value = reason
    async with fleet(Hall) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        Hall.value = None
        await socket.join("halls/1")
        Hall.value = reason
        socket.ask("halls/1", "refuse")
        (answer,) = [frame["payload"] for frame in await socket.hear() if frame["type"] == "error"]
        assert (answer["reason"], answer["message"], answer["retry_after"]) == ("full", "Montag", 3.0)
        await Hall(hall=1).aevict(1, reason=reason)
        (left,) = [frame["payload"] for frame in await socket.hear() if frame["type"] == "left"]
        assert left["reason"] == "full"


@in_jumping_time
async def test_a_lazy_reason_has_the_language_of_the_code_that_gives_it() -> None:
    import holdfast

    async with fleet(Hall) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        await holdfast.adisconnect(1, reason=gettext_lazy("Monday"))  # type: ignore[arg-type]
        (goodbye,) = await socket.hear()
        assert goodbye["payload"]["reason"] == "Montag"


@pytest.mark.parametrize("reason", [7, b"x", "\ud83d"], ids=repr)
async def test_a_reason_that_is_no_text_is_refused_at_once(reason: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"Hall\.evict: reason="):
        Hall(hall=1).evict(1, reason=reason)


@pytest.mark.parametrize("wait", [NAN, float("inf"), -1, "soon"], ids=repr)
def test_a_refusals_wait_is_a_number_of_seconds(wait: Any) -> None:
    with pytest.raises(ValueError, match="retry_after"):
        Refuse("full", retry_after=wait)


async def test_a_topic_can_be_named_by_a_safe_string() -> None:
    class Room(Topic):
        route = "rooms/<slug:room>"

        async def may_join(self, user: Any) -> bool:
            return type(self.name) is str

    threads = Threads(1)
    assert await may_join(threads, Room(room=mark_safe("lobby")), ANONYMOUS)
    assert await may_join(threads, Room(room=Reason.FULL), ANONYMOUS)
    assert Room(room=Reason.FULL).name == "rooms/full"

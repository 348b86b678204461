"""Events: their names on the wire, and the checks of their fields."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from holdfast import Event
from holdfast.topics.event import check_event


class MessagePosted(Event):
    id: int
    body: Annotated[str, Meta(min_length=1, max_length=10)]
    tags: list[str] = []


@pytest.mark.parametrize(
    ("class_name", "wire_name"),
    [
        ("MessagePosted", "message.posted"),
        ("Typing", "typing"),
        ("HTTPDone", "http.done"),
        ("OrderV2Shipped", "order.v.2.shipped"),
        ("Order_Shipped", "order.shipped"),
        ("DoneByHTTP", "done.by.http"),
    ],
)
def test_the_wire_name_is_made_of_the_words_of_the_class_name(class_name: str, wire_name: str) -> None:
    assert type(Event)(class_name, (Event,), {}).__wire_name__ == wire_name


def test_the_wire_name_can_be_given() -> None:
    class Renamed(Event, name="room.name_changed"):
        title: str

    assert Renamed.__wire_name__ == "room.name_changed"
    assert Renamed("x").encode() == b'{"title":"x"}'


def test_events_are_durable_unless_they_say_otherwise() -> None:
    class Typing(Event, durable=False):
        author: str

    class TypingLoudly(Typing):
        pass

    assert MessagePosted.__durable__
    assert not Typing.__durable__
    assert not TypingLoudly.__durable__


def test_an_event_takes_its_fields_by_position_and_by_name() -> None:
    assert MessagePosted(1, "hi") == MessagePosted(id=1, body="hi", tags=[])


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        MessagePosted(1, "hi").id = 2  # type: ignore[misc]


def test_a_field_may_be_called_name() -> None:
    class Joined(Event):
        name: str

    assert Joined("ada").encode() == b'{"name":"ada"}'
    assert Joined.__wire_name__ == "joined"


def test_an_encoded_event_can_be_decoded() -> None:
    class Everything(Event):
        id: uuid.UUID
        at: datetime
        ratio: float
        more: dict[str, int] | None

    event = Everything(uuid.uuid4(), datetime.now(UTC), 1.5, {"a": 1})
    assert Everything.decode(event.encode()) == event


def test_fields_of_a_newer_version_are_ignored_when_decoding() -> None:
    assert MessagePosted.decode(b'{"id":1,"body":"hi","tags":[],"colour":"red"}') == MessagePosted(1, "hi")


def test_decoding_an_unfit_value_is_a_validation_error() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.id"):
        MessagePosted.decode(b'{"id":"1","body":"hi"}')


def test_a_value_of_a_wrong_type_is_named_with_event_field_and_what_was_expected() -> None:
    with pytest.raises(TypeError, match=r"^MessagePosted\.id: expected int, got str \('7'\)$"):
        MessagePosted("7", "hi").encode()  # type: ignore[arg-type]


def test_a_wrong_value_inside_a_list_is_named_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"^MessagePosted\.tags\[1\]: expected str, got int"):
        MessagePosted(1, "hi", ["a", 2]).encode()  # type: ignore[list-item]


def test_a_value_that_breaks_a_constraint_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^MessagePosted\.body: expected str of length <= 10 \('too long"):
        MessagePosted(1, "too long a text").encode()


def test_a_value_that_json_does_not_have_is_named_with_its_field() -> None:
    with pytest.raises(TypeError, match=r"^MessagePosted\.body: .*object"):
        MessagePosted(1, object()).encode()  # type: ignore[arg-type]


def test_text_that_utf8_does_not_have_is_named_with_its_field() -> None:
    with pytest.raises(TypeError, match=r"^MessagePosted\.body: .*surrogates not allowed"):
        MessagePosted(1, "\ud800").encode()


def test_not_a_number_is_refused_as_json_has_none() -> None:
    class Measured(Event):
        value: float

    with pytest.raises(ValueError, match=r"^Measured\.value: nan is no number in JSON"):
        Measured(float("nan")).encode()


@pytest.mark.parametrize("name", ["", "with space", "ü", "x" * 101, 3])
def test_a_name_that_the_wire_does_not_take_is_refused_with_the_way_out(name: Any) -> None:
    with pytest.raises(
        TypeError, match=r'event Odd: .* cannot be its name on the wire; .*name="message\.posted"'
    ):

        class Odd(Event, name=name):
            pass


def test_a_field_that_would_hide_a_method_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        TypeError, match=r"event Odd: a field 'encode' would hide Event\.encode; .*msgspec\.field"
    ):

        class Odd(Event):
            encode: str  # type: ignore[assignment]


def test_a_field_of_a_type_that_cannot_be_sent_is_refused_with_the_way_out() -> None:
    class Connection:
        pass

    class Odd(Event):
        connections: list[Connection]

    with pytest.raises(
        TypeError, match=r"event Odd: field 'connections': .*Connection cannot be sent as JSON; send its id"
    ):
        check_event(Odd)


def test_a_field_whose_type_is_not_defined_is_refused_with_the_way_out() -> None:
    class Odd(Event):
        what: "Missing"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        TypeError, match=r"event Odd: .*'Missing'.*define or import that name before the event"
    ):
        check_event(Odd)

"""Actions: what clients may send and what they get back, and mistakes in declaring one."""

import math
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from holdfast import Topic, action
from holdfast.limits.base import Rate
from holdfast.protocol.codec import JSON, MSGPACK, BadMessage, Codec
from holdfast.topics.action import Action

if TYPE_CHECKING:
    from holdfast import Caller  # as many will: the annotation of `caller` is never evaluated


class Line(msgspec.Struct):
    sku: str
    count: Annotated[int, Meta(ge=1)] = 1


class Shop(Topic):
    route = "shops/<int:shop>"

    @action(rate="5/s", timeout=3)
    def order(self, caller: "Caller", lines: list[Line], note: str = "none", *, gift: bool = False) -> int:
        return len(lines)

    @action
    async def look(self, caller: Any) -> None:
        pass

    @action(once=False, name="window.clean")
    def clean(self, caller: Any, key: uuid.UUID | None = None):  # type: ignore[no-untyped-def]
        return None

    @action
    def describe(self, caller: Any) -> Annotated[str, Meta(max_length=5)]:
        return ""


def described(name: str) -> Action:
    return Shop.declared.actions[name]


def test_an_action_knows_its_name_mode_and_options() -> None:
    order, look = described("order"), described("look")
    assert (order.name, order.is_async, order.once, order.timeout) == ("order", False, True, 3)
    assert order.rate == Rate(count=5, seconds=1)
    assert (look.is_async, look.rate, look.timeout) == (True, None, 30)


def test_the_name_on_the_wire_can_be_given() -> None:
    assert described("window.clean").once is False
    assert "clean" not in Shop.declared.actions


def test_the_method_stays_an_ordinary_method() -> None:
    assert Shop(shop=1).order(None, [Line("a")]) == 1  # type: ignore[arg-type]
    assert described("order").function is Shop.order


def test_actions_are_inherited() -> None:
    class Kiosk(Shop):
        route = "kiosks/<int:shop>"

    assert set(Kiosk.declared.actions) == set(Shop.declared.actions)


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_arguments_are_read_and_converted(codec: Codec) -> None:
    encode: Callable[[Any], bytes] = msgspec.msgpack.encode if codec.binary else msgspec.json.encode
    raw = encode({"lines": [{"sku": "a"}, {"sku": "b", "count": 2}], "gift": True})
    found = described("order").decode(codec.payload(raw))
    assert found == {"lines": [Line("a"), Line("b", 2)], "gift": True}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
@pytest.mark.parametrize("raw", [b"", msgspec.Raw()])
def test_no_payload_is_no_arguments(codec: Codec, raw: Any) -> None:
    assert described("look").decode(codec.payload(raw)) == {}


PACKED: list[tuple[Any, object, object]] = [
    (bytes, b"hi", b"hi"),
    (bytes, "aGk=", b"hi"),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (dict[int, str], {1: "a"}, {1: "a"}),
    (int, 1.0, None),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (Any, b"hi", "aGk="),
    (Any, {1: 2}, {"1": 2}),
    (float, math.nan, None),
    (float, math.inf, None),
    (uuid.UUID, uuid.UUID(int=7).bytes, None),
    (Any, msgspec.msgpack.Ext(5, b"x"), None),
]


@pytest.mark.parametrize(
    ("annotation", "sent", "read"), PACKED, ids=lambda value: repr(value).partition(" object at ")[0]
)
def test_an_argument_in_messagepack_is_what_it_is_in_json(
    annotation: Any, sent: object, read: object
) -> None:
    """A type reads the same values, and refuses the same ones, whichever encoding the client chose."""

    class Bay(Topic):
        route = "bays/<int:bay>"

        def load(self, caller, data):  # type: ignore[no-untyped-def]
            return None

        load.__annotations__ = {"data": annotation}
        load = action(load)

    raw = msgspec.msgpack.encode({"data": sent})
    decode = Bay.declared.actions["load"].decode
    if read is None:
        with pytest.raises((msgspec.ValidationError, BadMessage)):
            decode(MSGPACK.payload(raw))
    else:
        assert decode(MSGPACK.payload(raw)) == {"data": read}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{}", "missing required field `lines`"),
        (b'{"lines":[{"sku":7}]}', r"Expected `str`, got `int` - at `\$\.lines\[0\]\.sku`"),
        (b'{"lines":[{"sku":"a","count":0}]}', r"Expected `int` >= 1 - at `\$\.lines\[0\]\.count`"),
        (b'{"lines":[],"colour":"red"}', "unknown field `colour`"),
        (b'{"lines":[],"note":null}', r"Expected `str`, got `null` - at `\$\.note`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
    ],
)
def test_the_error_for_unfit_arguments_names_the_place(raw: bytes, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        described("order").decode(raw)


def test_invalid_json_is_a_decode_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        described("order").decode(b"{")


def test_the_caller_cannot_be_sent() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `caller`"):
        described("look").decode(b'{"caller":{}}')


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_becomes_json() -> None:
    assert described("order").encode_result(3) == b"3"
    assert described("look").encode_result(None) == b"null"


def test_without_a_return_annotation_anything_that_json_has_may_be_returned() -> None:
    assert described("window.clean").encode_result({"a": [1]}) == b'{"a":[1]}'


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "order",
            "3",
            r"^Shop\.order returned '3', which is not what its annotation says: expected int, got str",
        ),
        ("look", 1, r"^Shop\.look returned 1, .*expected null, got int"),
        ("describe", "too long", r"^Shop\.describe returned .*expected str of length <= 5"),
        (
            "window.clean",
            object(),
            r"^Shop\.clean returned <object .*cannot be sent as JSON.*return plain values",
        ),
    ],
)
def test_a_result_that_does_not_fit_is_the_developers_error(name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        described(name).encode_result(value)


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def declare(method: Any, **options: Any) -> None:
    type("Room", (Topic,), {"route": "rooms/<slug:room>", method.__name__: action(**options)(method)})


def no_caller(self: Any, body: str) -> None: ...
def nothing() -> None: ...
def no_annotation(self, caller, body): ...  # type: ignore[no-untyped-def]
def many(self: Any, caller: Any, *bodies: str) -> None: ...
def whatever(self: Any, caller: Any, **bodies: str) -> None: ...
def by_place(self: Any, caller: Any, body: str, /) -> None: ...
def odd_argument(self: Any, caller: Any, room: Topic) -> None: ...
def odd_result(self: Any, caller: Any) -> list[Topic]: ...  # type: ignore[empty-body]
def unknown_name(self: Any, caller: Any, body: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def ambiguous(self: Any, caller: Any, body: list[int] | set[int]) -> None: ...
def yields(self: Any, caller: Any) -> Any:
    yield 1


async def streams(self: Any, caller: Any) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (no_caller, r"^Room\.no_caller: .*self and caller.*write: def no_caller\(self, caller, …\)"),
        (nothing, r"^Room\.nothing: .*self and caller"),
        (no_annotation, r"^Room\.no_annotation: parameter 'body' has no annotation.*body: str"),
        (many, r"^Room\.many: parameter \*bodies: str cannot be filled.*`name: type`"),
        (whatever, r"^Room\.whatever: parameter \*\*bodies: str cannot be filled"),
        (by_place, r"^Room\.by_place: the first two|^Room\.by_place: parameter .*cannot be filled"),
        (odd_argument, r"^Room\.odd_argument: parameter 'room': Topic cannot be sent as JSON; send its id"),
        (odd_result, r"^Room\.odd_result: the return annotation: Topic cannot be sent as JSON"),
        (
            unknown_name,
            r"^Room\.unknown_name: an annotation cannot be resolved .*'Missing'.*import or define",
        ),
        (ambiguous, r"^Room\.ambiguous: parameter 'body': .*union"),
        (yields, r"^Room\.yields: an action returns once and cannot yield; publish events"),
        (streams, r"^Room\.streams: an action returns once and cannot yield"),
    ],
)
def test_a_mistake_in_a_declaration_is_named_with_the_way_out(method: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        declare(method)


def test_an_action_must_be_a_plain_method() -> None:
    with pytest.raises(TypeError, match="is not a plain method; put @action above a def"):
        action(staticmethod(nothing))


@pytest.mark.parametrize("rate", ["5", "5/x", "0/s", "-1/s", "5/0s", "", 5])
def test_an_invalid_rate_is_refused_with_examples(rate: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"is not a rate; .*'5/s'"):
        action(rate=rate)


@pytest.mark.parametrize("timeout", [0, -1, "30", True])
def test_an_invalid_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(TypeError, match=r"timeout=.*number of seconds above zero"):
        action(timeout=timeout)


def test_an_action_must_not_hide_an_attribute_of_topic() -> None:
    def publish(self: Any, caller: Any) -> None: ...

    with pytest.raises(
        TypeError, match=r'^Room\.publish: .*would hide Topic\.publish; .*@action\(name="publish"\)'
    ):
        declare(publish)


def test_two_actions_must_not_have_one_name() -> None:
    with pytest.raises(TypeError, match=r"^Room: post and send are both the action 'post'; .*@action\(name="):

        class Room(Topic):
            route = "rooms/<slug:room>"

            @action
            def post(self, caller: Any) -> None: ...

            @action(name="post")
            def send(self, caller: Any) -> None: ...


def test_an_override_that_forgot_the_decorator_is_named() -> None:
    with pytest.raises(TypeError, match=r"^Kiosk\.order overrides the action Shop\.order without @action"):

        class Kiosk(Shop):
            route = "kiosks/<int:shop>"

            def order(self, caller: Any) -> int:  # type: ignore[override]
                return 0


def test_a_subclass_can_take_an_action_away() -> None:
    class Kiosk(Shop):
        route = "kiosks/<int:shop>"
        order = None  # type: ignore[assignment]

    assert "order" not in Kiosk.declared.actions


@pytest.mark.parametrize("name", ["", "with space", "x" * 101])
def test_a_name_that_the_wire_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"^Room\.post: .* cannot be an action's name"):

        class Room(Topic):
            route = "rooms/<slug:room>"

            @action(name=name)
            def post(self, caller: Any) -> None: ...

"""Routes: which names they match, and the names that they build."""

import string
import uuid
from typing import Any

import pytest
from django.urls import converters, register_converter
from hypothesis import given
from hypothesis import strategies as st

from holdfast.topics.routes import Route


def values(route: str, name: str, user_id: str | None = None) -> Any:
    match = Route(route).match(name, user_id)
    return match and dict(match.values)


# ── matching ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_parameter_is_converted() -> None:
    assert values("orders/<int:order>", "orders/42") == {"order": 42}
    key = uuid.uuid4()
    assert values("orders/<uuid:order>", f"orders/{key}") == {"order": key}


def test_a_parameter_without_a_converter_is_text() -> None:
    assert values("rooms/<room>", "rooms/lobby") == {"room": "lobby"}


def test_a_name_that_is_canonical_already_is_kept_as_one_text() -> None:
    """A connection keeps both the name that it asked for and the canonical one."""
    name = "".join(("rooms/", "lobby"))
    match = Route("rooms/<slug:room>").match(name, None)

    assert match is not None
    assert match.name is name


def test_a_route_without_parameters_matches_itself() -> None:
    assert values("news", "news") == {}
    assert values("news", "newsx") is None


@pytest.mark.parametrize(
    "name", ["rooms/", "rooms/a/b", "/rooms/a", "rooms/a/", "xrooms/a", "rooms/a\n", "rooms/a b", ""]
)
def test_a_name_with_anything_more_or_less_does_not_match(name: str) -> None:
    assert values("rooms/<slug:room>", name) is None


@pytest.mark.parametrize(
    "name", ["rooms/a\x00b", "rooms/a\nb", "rooms/\x7f", "rooms/\ud800", "rooms/" + "x" * 250]
)
def test_names_that_no_store_should_have_to_take_do_not_match(name: str) -> None:
    assert values("rooms/<str:room>", name) is None


def test_the_dot_of_a_route_is_a_dot() -> None:
    assert values("v1.0/<room>", "v1x0/a") is None


def test_the_canonical_name_is_rebuilt_from_the_converted_values() -> None:
    match = Route("orders/<int:order>").match("orders/007", None)
    assert match
    assert match.name == "orders/7"


def test_a_number_too_long_for_python_does_not_match() -> None:
    assert Route("orders/<int:order>").match("orders/" + "9" * 240, None) is not None
    assert Route("orders/<int:order>").match("orders/" + "9" * 5000, None) is None


def test_a_registered_converter_is_used() -> None:
    class Year:
        regex = "[0-9]{4}"

        def to_python(self, value: str) -> int:
            if value == "0000":
                raise ValueError("there was none")
            return int(value)

        def to_url(self, value: int) -> str:
            return f"{value:04d}"

    register_converter(Year, "holdfast_year")
    try:
        assert values("years/<holdfast_year:year>", "years/0476") == {"year": 476}
        assert values("years/<holdfast_year:year>", "years/0000") is None
        assert Route("years/<holdfast_year:year>").build("Year", {"year": 476}).name == "years/0476"
    finally:
        del converters.REGISTERED_CONVERTERS["holdfast_year"]
        converters.get_converters.cache_clear()


@given(st.text(alphabet=string.printable + "äß\u3000\U0001f600/<>%", max_size=40))
def test_a_matched_name_is_rebuilt_identically(rest: str) -> None:
    for text in ("a/<str:x>", "a/<slug:x>", "a/<int:x>/<path:y>", "a/<path:x>"):
        route = Route(text)
        if match := route.match(f"a/{rest}", None):
            assert route.build("Any", match.values) == match
            assert route.match(match.name, None) == match


# ── <me> ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["users/me/inbox", "users/7/inbox"])
def test_me_is_the_callers_own_id(name: str) -> None:
    match = Route("users/<me>/inbox").match(name, "7")
    assert match
    assert match.name == "users/7/inbox"
    assert match.values == {"me": "7"}


def test_me_does_not_match_the_id_of_another_user() -> None:
    assert Route("users/<me>/inbox").match("users/8/inbox", "7") is None


@pytest.mark.parametrize("name", ["users/me/inbox", "users/7/inbox", "users/None/inbox", "users//inbox"])
def test_me_refuses_an_anonymous_caller(name: str) -> None:
    assert Route("users/<me>/inbox").match(name, None) is None


@pytest.mark.parametrize("user_id", ["a/b", ""])
def test_me_refuses_a_user_id_that_is_no_segment(user_id: str) -> None:
    assert Route("users/<me>/inbox").match("users/me/inbox", user_id) is None


def test_in_a_canonical_name_me_may_be_any_user() -> None:
    class User:
        pk = 7

    route = Route("users/<me>/inbox")
    assert route.build("Inbox", {"me": User()}).name == "users/7/inbox"
    assert route.build("Inbox", {"me": 7}) == route.build("Inbox", {"me": "7"})
    match = route.match_canonical("users/7/inbox")
    assert match
    assert match.values == {"me": "7"}


# ── building ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_value_that_does_not_fit_is_named_with_what_was_expected() -> None:
    expected = (
        r"^Room\(room='a b'\): .* <slug:room> of route 'rooms/<slug:room>'; expected .*\[-a-zA-Z0-9_\]\+"
    )
    with pytest.raises(ValueError, match=expected):
        Route("rooms/<slug:room>").build("Room", {"room": "a b"})


@pytest.mark.parametrize("value", [None, True, 1.5, [], object(), "", "x\x00", "x" * 300])
def test_a_value_without_a_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^Room"):
        Route("rooms/<str:room>").build("Room", {"room": value})


def test_an_id_that_is_a_number_may_stand_where_text_is_expected() -> None:
    match = Route("rooms/<slug:room>").build("Room", {"room": 5})
    assert (match.name, match.values) == ("rooms/5", {"room": "5"})


def test_a_model_instance_is_refused_with_the_way_out() -> None:
    class Room:
        pk = 5

    with pytest.raises(ValueError, match="give its primary key"):
        Route("rooms/<int:room>").build("Room", {"room": Room()})


def test_a_missing_parameter_is_named_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"Room needs the parameter 'room': .*write Room\(room=…\)"):
        Route("rooms/<slug:room>").build("Room", {})


def test_an_unknown_parameter_is_named_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"Room has no parameter 'rom': .*write Room\(room=…\)"):
        Route("rooms/<slug:room>").build("Room", {"rom": "lobby"})


# ── mistakes in a route ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("/rooms/<slug:room>", "begins with '/'; .*write 'rooms/<slug:room>'"),
        (
            "rooms/<slg:room>",
            "converter 'slg', which does not exist; did you mean 'slug'.*register_converter",
        ),
        ("rooms/<slug:room", "unmatched '<' or '>'; parameters look like <slug:room>"),
        ("rooms/slug:room>", "unmatched '<' or '>'"),
        ("rooms/<slug:the-room>", "'the-room', which is not a valid Python name"),
        ("rooms/<slug: room>", "white space"),
        ("rooms/<a>/<a>", "the parameter 'a' twice; give one of them another name"),
        ("rooms/<:room>", "converter ''"),
        ("", "write a path such as 'rooms/<slug:room>'"),
        (None, "write a path such as 'rooms/<slug:room>'"),
        (["rooms"], "write a path such as 'rooms/<slug:room>'"),
    ],
)
def test_a_mistake_in_a_route_is_named_with_the_way_out(route: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Route(route)


def test_routes_that_differ_only_in_names_have_one_shape() -> None:
    assert Route("rooms/<slug:room>").shape == Route("rooms/<slug:name_of_room>").shape
    assert Route("rooms/<slug:room>").shape != Route("rooms/<str:room>").shape

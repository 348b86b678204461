"""Matching in bounded time: the same divisions as a regular expression finds, without its backtracking."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.topics.route_matching import MAX_TRIES, ExpressionKind, RouteMatcher, kind_of
from holdfast.topics.routes import MAX_NAME, Parameter, Route

SLUG, ANY = "[-a-zA-Z0-9_]+", ".+"


class Converter:
    def __init__(self, regex: str) -> None:
        self.regex = regex


def parameter(name: str, expression: str) -> Parameter:
    return Parameter(
        name=name,
        source=f"<{name}>",
        converter=Converter(expression),
        pattern=re.compile(expression),
    )


def by_expression(parts: list[str | Parameter], name: str) -> dict[str, str] | None:
    text = "".join(
        re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>{part.expression})" for part in parts
    )
    found = re.compile(text + r"\Z").match(name)
    return None if found is None else found.groupdict()


@pytest.mark.parametrize(
    "route",
    [
        "<slug:a>-<slug:b>-<slug:c>-<slug:d>",
        "x/<path:a>/<path:b>/<path:c>",
        "<str:a><str:b><str:c><str:d>",
        "<slug:a>a<slug:b>a<slug:c>a<slug:d>!",
        "<int:a><int:b><int:c><int:d>",
    ],
)
@pytest.mark.parametrize("letters", ["a-", "a", "x/", "1", "1a-/"])
def test_no_name_takes_long(route: str, letters: str) -> None:
    parsed = Route(route)
    for start in ("", "x/"):
        for end in ("", "!", "/", "\u2028"):
            name = (start + letters * MAX_NAME)[: MAX_NAME - len(end)] + end
            begun = time.thread_time()
            parsed.match(name, None)
            assert time.thread_time() - begun < 0.02


def test_a_projects_own_converter_has_a_number_of_tries() -> None:
    tried = 0

    class Counting:
        def fullmatch(self, *_: object) -> None:
            nonlocal tried
            tried += 1

    class Odd:
        name, expression = "odd", "(?:ab?)+"
        pattern: Any = Counting()

    assert RouteMatcher([Odd(), Odd(), "a", Odd(), "!"]).match("a" * 254 + "!") is None
    assert 0 < tried <= MAX_TRIES


def test_a_parameter_is_as_long_as_it_can_be_whatever_its_expression_prefers() -> None:
    """A regular expression would take the first alternative that fits."""
    parts = [parameter("first", "(?:a|ab)"), parameter("second", r"\w+")]
    assert RouteMatcher(parts).match("ab1") == {"first": "ab", "second": "1"}
    assert by_expression(parts, "ab1") == {"first": "a", "second": "b1"}


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["a", "-", "/", "ab", "-a"]),
            st.sampled_from(
                [SLUG, ANY, "[^/]+", "[0-9]+", "[0-9]{2}", "(?:ab?)+", "ab|a", "[ab]{1,2}", r"\w+"]
            ),
        ),
        min_size=1,
        max_size=7,
    ),
    st.text(alphabet="ab-/1", max_size=14),
)
def test_it_divides_names_as_the_expression_does(shapes: list[str], name: str) -> None:
    texts = {"a", "-", "/", "ab", "-a"}
    parts: list[str | Parameter] = [
        shape if shape in texts else parameter(f"p{place}", f"(?:{shape})" if "|" in shape else shape)
        for place, shape in enumerate(shapes)
    ]
    assert RouteMatcher(parts).match(name) == by_expression(parts, name)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("[0-9]{4}", 4),
        ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 36),
        (r"v\.[0-9]", 3),
        ("(?:ab)", None),
        ("[a-z]{2,3}", None),
        ("a|bc", None),
        ("a?", None),
        ("a*", None),
    ],
)
def test_the_width_of_an_expression_is_known_or_it_is_not(expression: str, kind: int | None) -> None:
    assert kind_of(expression) == ExpressionKind(width=kind)


@pytest.mark.parametrize(
    ("route", "pairs"),
    [
        ("rooms/<slug:room>", []),
        ("rooms/<slug:room>/<int:seat>", []),
        ("days/<uuid:a>-<slug:b>", []),
        ("files/<path:path>/edit", []),
        ("<slug:a>-<slug:b>", [("a", "b")]),
        ("<int:a>-<slug:b>", []),
        ("<int:a><slug:b>", [("a", "b")]),
        ("files/<path:path>/<int:page>", [("path", "page")]),
        ("<slug:a>-<slug:b>-<slug:c>", [("a", "b"), ("b", "c")]),
    ],
)
def test_parameters_that_overlap_are_known(route: str, pairs: list[tuple[str, str]]) -> None:
    assert Route(route).overlapping == pairs

"""Rates as applications write them."""

from typing import Any

import pytest

from holdfast.limits.base import Rate


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [
        ("5/s", 5, 1),
        ("100/m", 100, 60),
        ("10/10s", 10, 10),
        ("1000/h", 1000, 3600),
        ("1/d", 1, 86400),
        ("3/0.5s", 3, 0.5),
    ],
)
def test_a_rate_is_how_many_per_how_long(text: str, count: int, seconds: float) -> None:
    assert Rate.parse(text) == Rate(count=count, seconds=seconds)


def test_a_rate_read_from_its_own_text_is_the_same() -> None:
    assert Rate.parse(str(Rate.parse("100/m"))) == Rate.parse("100/m")


@pytest.mark.parametrize("text", ["5/s", "100/m", "1000/h", "3/d", "10/10s", "20/1.5s"])
def test_a_rate_is_shown_as_it_was_written(text: str) -> None:
    assert str(Rate.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "5", "5/", "/s", "5/year", "5 / s", "0/s", "5/0s", "-5/s", "\u0665/s", None, 5]
)
def test_anything_else_is_refused_with_examples(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a rate; .*'5/s', '100/m' or '10/10s'"):
        Rate.parse(text)

"""Rules: mistakes that show when the class is defined, and the answers that are a yes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator
from typing import Annotated, Any, Literal, Never, TypeVar

import pytest
from django.contrib.auth import get_user_model

from holdfast import Topic
from holdfast.topics import rule

T = TypeVar("T")


def declare(may_join: Any = None, **more: Any) -> type[Topic]:
    return type("Room", (Topic,), {"route": "rooms/<slug:room>", "may_join": may_join, **more})


def returning(hint: Any) -> Any:
    def may_join(self: Any, user: Any) -> Any:
        return True

    may_join.__annotations__["return"] = hint
    return may_join


@pytest.mark.parametrize(
    "hint",
    [
        bool,
        "bool",
        Any,
        object,
        bool | None,
        "bool | None",
        Literal[True],
        Annotated[bool, "x"],
        Never,
        T,
        "OnlyForTypeCheckers",
    ],
    ids=str,
)
def test_a_rule_may_be_annotated_with_anything_that_can_be_true(hint: Any) -> None:
    declare(returning(hint))


@pytest.mark.parametrize(
    "hint",
    [
        Awaitable[bool],
        "Awaitable[bool]",
        Coroutine[Any, Any, bool],
        asyncio.Future,
        None,
        "None",
        int,
        str,
        Literal[1],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["may_join", "may_call"])
def test_a_rule_whose_annotation_can_never_be_true_is_refused(name: str, hint: Any) -> None:
    method = returning(hint)
    if name == "may_call":

        def may_call(self: Any, caller: Any, action: Any) -> Any: ...

        may_call.__annotations__["return"] = hint
        method = may_call
    with pytest.raises(TypeError, match=rf"^Room\.{name}: its annotation says .* only True lets a client in"):
        declare(**{name: method})


def test_a_rule_that_yields_is_refused() -> None:
    def may_join(self: Any, user: Any) -> Any:
        yield True

    async def later(self: Any, user: Any) -> Any:
        yield True

    for method in (may_join, later):
        with pytest.raises(TypeError, match=r"^Room\.may_join: a rule answers once and cannot yield"):
            declare(method)


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    rule._logged.clear()
    yield
    rule._logged.clear()


async def later() -> bool:
    return True


@pytest.mark.parametrize(
    "answer", [None, 1, 0, "yes", "", [1], object(), later], ids=lambda value: type(value).__name__
)
def test_only_true_is_a_yes_and_anything_but_a_bool_is_an_error_in_the_log(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    room = declare(lambda self, user: True)(room="lobby")
    given = answer() if answer is later else answer
    assert rule.decided(room, "may_join", given) is False
    assert (rule.decided(room, "may_join", True), rule.decided(room, "may_join", False)) == (True, False)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "<Room rooms/lobby>.may_join returned" in record.getMessage()
    assert ("async def" in record.getMessage()) is (answer is later)


@pytest.mark.django_db
def test_a_queryset_is_no_yes_and_is_not_read(
    caplog: pytest.LogCaptureFixture, django_assert_num_queries: Any
) -> None:
    get_user_model().objects.create(username="ada")
    with django_assert_num_queries(0):
        assert not rule.decided(declare()(room="lobby"), "may_join", get_user_model().objects.all())
    assert "returned a django.db.models.query.QuerySet" in caplog.text


def test_a_client_that_asks_in_a_loop_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    room = declare()(room="lobby")
    for _ in range(1000):
        assert not rule.decided(room, "may_join", 1)
    assert len(caplog.records) == 1

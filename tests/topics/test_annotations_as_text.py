"""Actions and events in a module whose annotations are not evaluated by Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import pytest
from msgspec import Meta

from holdfast import Event, Topic, action

if TYPE_CHECKING:
    from holdfast import Caller


class Said(Event):
    body: Annotated[str, Meta(max_length=3)]


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]

    class Options(msgspec.Struct):
        loud: bool

    @action
    def post(
        self, caller: Caller, body: Annotated[str, Meta(max_length=3)], options: Options | None = None
    ) -> int:
        return 1


def test_arguments_are_checked() -> None:
    post = Room.declared.actions["post"]
    assert post.decode(b'{"body":"hi","options":{"loud":true}}') == {
        "body": "hi",
        "options": Room.Options(True),
    }
    with pytest.raises(msgspec.ValidationError, match="length <= 3"):
        post.decode(b'{"body":"hello"}')


def test_results_are_checked() -> None:
    with pytest.raises(TypeError, match=r"Room\.post returned"):
        Room.declared.actions["post"].encode_result("1")


def test_events_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^Said\.body"):
        Said("hello").encode()

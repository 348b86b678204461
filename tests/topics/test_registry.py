"""The registry: which topic a name means, and finding topics in apps."""

import sys
from pathlib import Path
from typing import Any

import pytest
from django.test.utils import modify_settings
from django.urls import converters, register_converter
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Topic
from holdfast.topics.registry import Registry
from holdfast.topics.registry import registry as of_this_process


class Room(Topic):
    route = "rooms/<slug:room>"


class Inbox(Topic):
    route = "users/<me>/inbox"


class News(Topic):
    route = "news"


class Anything(Topic):
    route = "<slug:first>/wild"


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    registry.register(Room, Inbox, News, Anything)
    return registry


@pytest.mark.parametrize(
    ("name", "user_id", "found"),
    [
        ("rooms/lobby", None, Room),
        ("news", None, News),
        ("rooms/wild", None, Room),
        ("else/wild", None, Anything),
        ("users/me/inbox", "7", Inbox),
        ("users/7/inbox", "7", Inbox),
        ("users/8/inbox", "7", type(None)),
        ("users/me/inbox", None, type(None)),
        ("nothing", None, type(None)),
        ("", None, type(None)),
        ("/", None, type(None)),
        ("news/", None, type(None)),
    ],
)
def test_a_name_means_a_topic_or_nothing(
    registry: Registry, name: str, user_id: str | None, found: type
) -> None:
    assert type(registry.resolve(name, user_id)) is found


def test_the_topic_found_is_the_same_as_one_made(registry: Registry) -> None:
    assert registry.resolve("rooms/lobby", None) == Room(room="lobby")
    assert registry.resolve("users/me/inbox", "7") == Inbox(me="7")


def test_each_caller_gets_a_topic_of_its_own(registry: Registry) -> None:
    assert registry.resolve("rooms/lobby", None) is not registry.resolve("rooms/lobby", None)


def test_a_canonical_name_is_found_whichever_user_it_belongs_to(registry: Registry) -> None:
    assert registry.by_name("users/8/inbox") == Inbox(me="8")
    assert registry.by_name("nothing") is None


@given(st.text(max_size=300), st.one_of(st.none(), st.text(max_size=10)))
def test_no_name_is_an_error(registry: Registry, name: str, user_id: str | None) -> None:
    for candidate in (name, f"rooms/{name}", f"users/{name}/inbox"):
        registry.resolve(candidate, user_id)


def test_a_converter_that_fails_is_logged_and_matches_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        regex = "[0-9]+"

        def to_python(self, value: str) -> Any:
            raise LookupError(value)

        def to_url(self, value: Any) -> str:
            return str(value)

    register_converter(Broken, "holdfast_broken")
    try:

        class Odd(Topic):
            route = "odd/<holdfast_broken:x>"

        registry = Registry()
        registry.register(Odd)
        assert registry.resolve("odd/1", None) is None
        assert "A path converter of" in caplog.text
    finally:
        del converters.REGISTERED_CONVERTERS["holdfast_broken"]
        converters.get_converters.cache_clear()


def test_registering_twice_is_registering_once(registry: Registry) -> None:
    registry.register(Room)
    assert registry.topics() == (Room, Inbox, News, Anything)


def test_a_topic_without_a_route_cannot_be_registered() -> None:
    class Abstract(Topic):
        pass

    with pytest.raises(TypeError, match="Abstract has no route; give it one"):
        Registry().register(Abstract)


def test_an_override_ends_with_its_block(registry: Registry) -> None:
    with registry.override([News]):
        assert registry.topics() == (News,)
        assert registry.resolve("rooms/lobby", None) is None
    assert registry.resolve("rooms/lobby", None) is not None


LIVE = """
from holdfast import Topic
from .elsewhere import Imported

class Base(Topic):
    pass

class Found(Base):
    route = "found"
"""


def test_topics_are_found_in_the_live_module_of_an_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = tmp_path / "holdfast_found_app"
    (app / "live").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "live" / "__init__.py").write_text(LIVE)
    (app / "live" / "elsewhere.py").write_text(
        "from holdfast import Topic\nclass Imported(Topic): route = 'imported'"
    )
    (app / "other.py").write_text("from holdfast import Topic\nclass NotFound(Topic): route = 'not'")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry()
    try:
        with of_this_process.override([]), modify_settings(INSTALLED_APPS={"append": "holdfast_found_app"}):
            assert of_this_process.resolve("found", None) is not None
            registry.discover()
    finally:
        for name in [name for name in sys.modules if name.startswith("holdfast_found_app")]:
            del sys.modules[name]
    assert sorted(topic.route for topic in registry.topics()) == ["found", "imported"]


def test_an_error_in_a_live_module_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "holdfast_broken_app"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "live.py").write_text("import there_is_no_such_module")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        modify_settings(INSTALLED_APPS={"append": "holdfast_broken_app"}).enable()
    sys.modules.pop("holdfast_broken_app", None)

"""The parameters of a route: any name may be one, and none takes the place of something that the topic has."""

import keyword
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Event, Keep, Presence, Topic, action
from holdfast.log.memory import MemoryLog
from holdfast.testing import Live
from holdfast.topics.registry import Registry, registry


class Renamed(Event):
    title: str


HOOKS = ("may_join", "may_call", "snapshot", "presence_meta")
DECLARED = sorted({*dir(Topic), *Topic.__annotations__, *HOOKS})
"""Every name that a topic has, public or not."""
ARGUMENTS = ["self", "cls", "given", "parameters"]


def declare(*names: str, **attributes: Any) -> Any:
    route = "/".join(["projects", *(f"<slug:{name}>" for name in names)])
    return type("Project", (Topic,), {"route": route, **attributes})


def what_it_has(topic: Any) -> dict[str, Any]:
    """Return the values of the topic's own names; the bound methods of two topics are compared by their functions."""
    names = [
        name
        for name in DECLARED
        if not name.startswith("__") and name not in ("params", "recheck", "arecheck")
    ]
    found = {name: getattr(topic, name, None) for name in names}
    return {name: getattr(value, "__func__", value) for name, value in found.items()}


def what_differs(topic: Any) -> dict[str, Any]:
    """Return the names whose values differ between any two topics."""
    return {name: getattr(topic, name) for name in ("declared", "route", "name", "group", "_name")}


@pytest.mark.parametrize("name", [*DECLARED, *ARGUMENTS, *keyword.kwlist, "room", "ünït"])
def test_every_name_can_be_a_parameter(name: str) -> None:
    project = declare(name)(**{name: "x"})
    assert (project.name, dict(project.params)) == ("projects/x", {name: "x"})
    assert project.group == "holdfast.projects.x"
    assert not project.declared.durable
    assert project == type(project)(**{name: "x"})


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*DECLARED, *ARGUMENTS, "room", "order"]), unique=True, min_size=1, max_size=6)
)
def test_a_topic_keeps_its_attributes_whatever_the_names_of_its_parameters(names: list[str]) -> None:
    topic = declare(*names)
    values = {name: f"v{number}" for number, name in enumerate(names)}
    made = topic(**values)
    assert made.params == values
    assert what_it_has(made) == {**what_it_has(declare("other")(other="x")), **what_differs(made)}

    known = Registry()
    known.register(topic)
    found = known.resolve(made.name, None)
    assert found == made
    assert found is not None
    assert found.params == values
    assert what_it_has(found) == what_it_has(made)


def test_a_parameter_is_an_attribute_where_it_hides_nothing() -> None:
    project = declare("room", "name")(room="lobby", name="x")
    assert project.room == "lobby"
    assert project.name == "projects/lobby/x"


def test_a_parameter_hides_no_method_of_the_projects_own() -> None:
    class Order(Topic):
        route = "orders/<int:total>/<int:post>/<int:lines>/<int:Kind>"

        class Kind: ...

        @property
        def total(self) -> int:
            return 2 * cast("int", self.params["total"])

        @action
        def post(self, caller: Any) -> None: ...

        def lines(self) -> list[int]:
            return [1]

    order = Order(total=4, post=5, lines=6, Kind=7)
    assert order.total == 8
    assert order.lines() == [1]
    assert order.Kind is Order.Kind
    assert callable(order.post)
    assert order.params == {"total": 4, "post": 5, "lines": 6, "Kind": 7}


def test_a_plain_value_of_the_class_is_the_default_of_the_attribute() -> None:
    class Order(Topic):
        route = "orders/<int:order>"

        order: int = 0

    assert Order(order=7).order == 7


def test_the_parameters_can_only_be_read() -> None:
    params: Any = declare("name")(name="x").params
    with pytest.raises(TypeError):
        params["name"] = "y"


def test_a_topic_costs_no_dict_for_its_parameters() -> None:
    project = declare("name", "room")(name="x", room="y")
    assert not [value for value in vars(project).values() if isinstance(value, Mapping)]


def test_a_missing_parameter_of_any_name_is_named() -> None:
    with pytest.raises(TypeError, match=r"^Project needs the parameter 'self': .*write Project\(self=…\)"):
        declare("self")()


CHOSEN = {"route", "events", "keep", "slow", "presence", "requires", *HOOKS}
OURS = [name for name in DECLARED if not name.startswith("__") and name not in {*CHOSEN, "declared"}]


@pytest.mark.parametrize("name", [name for name in OURS if name != "_name"])
def test_a_value_that_would_hide_an_attribute_of_topic_is_refused(name: str) -> None:
    expected = rf"^Project\.{name}: 'boat' would hide Topic\.{name}.*another name, such as project_{name.strip('_')}$"
    with pytest.raises(TypeError, match=expected):
        declare("room", **{name: "boat"})
    with pytest.raises(TypeError, match=rf"Project\.{name}: <property .*"):
        declare("room", **{name: property(lambda self: "boat")})


def test_a_method_may_override_a_method_of_topic() -> None:
    class Order(Topic):
        route = "orders/<int:order>"

        def publish(self, *events: Event, exclude: Any = None) -> None:
            super().publish(*events, exclude=exclude)

    assert Order(order=7).order == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", OURS)
def test_an_action_that_would_hide_an_attribute_of_topic_is_refused(name: str) -> None:
    def method(self: Any, caller: Any) -> None: ...

    method.__name__ = name
    with pytest.raises(
        TypeError, match=rf"^Project\.{name}: an action of this name would hide Topic\.{name}; .*@action\("
    ):
        declare("room", **{name: action(method)})


@pytest.mark.django_db
def test_a_topic_with_such_parameters_works_like_any_other() -> None:
    class Project(Topic):
        route = "projects/<slug:name>/<slug:group>/<int:position>/<slug:events>/<slug:members>/<slug:publish>"
        events = [Renamed]
        keep = Keep(days=30)
        presence = Presence()

        def may_join(self, user: Any) -> bool:
            return bool(self.params["name"] == "boat")

        def snapshot(self) -> dict[str, Any]:
            return dict(self.params)

        @action
        def rename(self, caller: Any, title: str) -> str:
            self.publish(Renamed(title))
            return str(self.params["group"])

    name = "projects/boat/red/7/all/crew/now"
    with registry.override([Project]), Live(log=MemoryLog()) as live:
        client = live.connect()
        joined = client.join(name)
        given = {
            "name": "boat", "group": "red", "position": 7, "events": "all", "members": "crew", "publish": "now",
        }  # fmt: skip
        assert joined.snapshot == given
        project = Project(**given)
        assert client.call(name, "rename", title="Fram") == "red"
        assert client.expect(Renamed).title == "Fram"
        assert project.position().offset == 1
        assert project.member_count() == 1
        project.evict_all()
        client.expect_left(project)

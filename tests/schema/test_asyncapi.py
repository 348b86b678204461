"""AsyncAPI: the document is valid by AsyncAPI's own schema, and the messages on the wire are valid by the document."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from holdfast import Event, Keep, Presence, Refuse, Topic, action
from holdfast.schema import asyncapi
from holdfast.schema.contract import Contract
from tests.support.connected import User, fleet

from .yard import TOPICS, Colour, Crew, Page, Point

OFFICIAL = Path(__file__).parents[2] / "client/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"


def document(*topics: type[Topic]) -> dict[str, Any]:
    return asyncapi.document(Contract.of(topics), title="Yard", version="1")


def validator(document: dict[str, Any], channel: str, message: str) -> jsonschema_rs.Validator:
    """Return the validator of a channel's messages."""
    schema = {
        **document["channels"][channel]["messages"][message]["payload"],
        "components": document["components"],
    }
    return jsonschema_rs.Draft7Validator(schema)


@pytest.mark.parametrize("topics", [(), TOPICS], ids=["none", "all"])
def test_the_document_is_valid_by_the_schema_of_asyncapi(topics: tuple[type[Topic], ...]) -> None:
    official = jsonschema_rs.Draft7Validator(json.loads(OFFICIAL.read_text()))
    made = document(*topics)
    assert [str(error) for error in official.iter_errors(made)] == []
    made["channels"]["Broken"] = {"messages": 7}
    assert not official.is_valid(made)  # so it can fail


def test_every_reference_leads_to_something() -> None:
    made = document(*TOPICS)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for value in part.values() for found in references(value)]
        return [found for value in part for found in references(value)] if isinstance(part, list) else []

    found = references(made)
    assert len(found) > 30
    for reference in found:
        place: Any = made
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_text_does_not_depend_on_the_order_of_the_topics() -> None:
    texts = {
        asyncapi.text(Contract.of(topics), title="Yard", version="1") for topics in (TOPICS, TOPICS[::-1])
    }
    assert len(texts) == 1


def test_a_channel_says_what_its_topic_is() -> None:
    yard = document(*TOPICS)["channels"]["Yard"]
    assert yard["address"] == "yards/{yard}"
    assert yard["description"] == "One yard, and the boats in it."
    assert yard["x-holdfast-keep"] == {"days": 7.0, "count": 100}
    assert yard["x-holdfast-requires"] == ["yard.view_yard"]
    assert yard["x-holdfast-presence"]["meta"] == {"$ref": "#/components/schemas/Crew"}
    assert yard["x-holdfast-snapshot"] == {"$ref": "#/components/schemas/PageOfPoint"}
    assert sorted(yard["messages"]) == sorted(
        ["event.built", "event.hull:creak"]
        + [f"{kind}.{name}" for kind in ("call", "result", "error") for name in ("build", "creak", "look-up")]
    )
    build = yard["messages"]["call.build"]
    assert (build["x-holdfast-rate"], build["x-holdfast-once"]) == ("5/s", True)
    assert build["x-holdfast-requires"] == ["yard.add_boat"]
    assert build["payload"]["properties"]["payload"] == {
        "type": "object",
        "properties": {
            "place": {"$ref": "#/components/schemas/PointInput"},
            "name": {"type": "string", "maxLength": 80},
            "colour": {"allOf": [{"$ref": "#/components/schemas/Colour"}], "default": "red"},
            "price": {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "null"}], "default": None},
        },
        "required": ["place", "name"],
        "additionalProperties": False,
    }


def test_a_class_that_goes_both_ways_may_leave_out_its_defaults_only_on_the_way_in() -> None:
    schemas = document(*TOPICS)["components"]["schemas"]
    assert schemas["Point"]["required"] == ["x", "y"]
    assert schemas["PointInput"]["required"] == ["x"]
    assert schemas["PointInput"]["properties"]["y"] == {"type": "number", "default": 0.0}
    assert "hidden" not in schemas["Built"]["required"]
    assert {"name", "owner", "anything"} <= set(schemas["Built"]["required"])


class Launched(Event):
    place: Point
    colour: Colour


class Heard(Event, durable=False):
    text: str


class Dock(Topic):
    route = "docks/<slug:dock>"
    events = [Launched, Heard]
    keep = Keep(count=10)
    presence = Presence()

    async def may_join(self, user: Any) -> bool:
        return True

    async def presence_meta(self, user: Any) -> Crew:
        return Crew("Ada")

    def snapshot(self) -> Page[Point]:
        return Page(items=[Point(1)])

    @action
    async def launch(self, caller: Any, x: int) -> Point:
        if x < 0:
            raise Refuse("no_water", "There is no water there.", retry_after=1)
        await self.apublish(Heard("splash"))
        await self.apublish(Launched(Point(x), Colour.BLUE))
        return Point(x)


async def test_messages_on_the_wire_are_valid_by_the_document() -> None:
    made = document(Dock)
    async with fleet(Dock) as here:
        (process,) = here.processes
        socket = await process.connect(User(1))
        await socket.join("docks/north")
        socket.ask("docks/north", "launch", ref=1, x=3)
        socket.ask("docks/north", "launch", ref=2, x=-3)
        frames = await socket.hear()
    kinds = set()
    for frame in frames:
        kind = frame["type"]
        name = {"event": frame.get("name"), "result": "launch", "error": "launch"}.get(kind)
        if name is None:
            continue  # presence
        kinds.add(f"{kind}.{name}")
        assert validator(made, "Dock", f"{kind}.{name}").is_valid(frame), frame
        frame["payload"] = "another"
        assert not validator(made, "Dock", f"{kind}.{name}").is_valid(frame)
    assert kinds == {"event.launched", "event.heard", "result.launch", "error.launch"}

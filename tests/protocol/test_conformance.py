"""The golden frames of ``conformance/``, read and written by the Python codecs."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.protocol import codes
from holdfast.protocol.codec import JSON, MSGPACK, BadMessage
from holdfast.protocol.frames import Inbound, Outbound

CONFORMANCE = Path(__file__).resolve().parents[2] / "conformance"


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((CONFORMANCE / name).read_text())


FRAMES = golden("frames.json")
BAD = golden("bad.json")
from_client = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["name"]) for case in FRAMES if case["direction"] == "client"]
)
from_server = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["name"]) for case in FRAMES if case["direction"] == "server"]
)


def known(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a client's frame without fields that this version does not know."""
    struct = next(cls for cls in Inbound.__args__ if cls.__struct_config__.tag == frame["type"])
    return {field: value for field, value in frame.items() if field in ("type", *struct.__struct_fields__)}


@from_client
def test_a_clients_json_is_read_as_the_frame(case: dict[str, Any]) -> None:
    assert json.loads(msgspec.json.encode(JSON.decode(case["json"]))) == known(case["frame"])


@from_client
def test_a_clients_json_may_come_as_bytes(case: dict[str, Any]) -> None:
    assert msgspec.json.encode(JSON.decode(case["json"].encode())) == msgspec.json.encode(
        JSON.decode(case["json"])
    )


@from_client
def test_a_clients_msgpack_is_read_as_the_frame(case: dict[str, Any]) -> None:
    read = MSGPACK.decode(bytes.fromhex(case["msgpack"]))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read)) == known(case["frame"])


@from_client
def test_the_two_encodings_of_a_clients_frame_are_one_message(case: dict[str, Any]) -> None:
    assert json.loads(case["json"]) == case["frame"]
    assert msgspec.msgpack.decode(bytes.fromhex(case["msgpack"])) == case["frame"]


@from_server
def test_a_servers_frame_is_written_as_exactly_this_json(case: dict[str, Any]) -> None:
    frame = msgspec.json.decode(case["json"], type=Outbound)
    assert JSON.encode(frame) == case["json"]
    assert json.loads(case["json"]) == case["frame"]


@from_server
def test_a_servers_frame_is_written_as_exactly_this_msgpack(case: dict[str, Any]) -> None:
    packed = MSGPACK.encode(msgspec.json.decode(case["json"], type=Outbound))
    assert isinstance(packed, bytes)
    assert packed.hex() == case["msgpack"]
    assert msgspec.msgpack.decode(packed) == case["frame"]


def test_every_type_of_message_has_a_golden_frame() -> None:
    types = {cls.__struct_config__.tag for union in (Inbound, Outbound) for cls in union.__args__}
    assert {case["frame"]["type"] for case in FRAMES} == types


def test_every_case_has_a_name_of_its_own() -> None:
    for cases in (FRAMES, BAD):
        assert len({case["name"] for case in cases}) == len(cases)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in BAD])
def test_a_bad_message_is_answered_with_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        JSON.decode(case["text"])
    assert (caught.value.code.name, caught.value.ref) == (case["code"], case["ref"])
    assert caught.value.code is codes.CATALOGUE[case["code"]]

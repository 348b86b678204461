"""Invalid messages are answered with a code of the catalogue, and the connection stays open."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .client import JSON, MSGPACK, Live, Message, Raw
from .servers import Running

DEEP = 2000

CONFORMANCE = Path(__file__).resolve().parent.parent.parent / "conformance"

#: Beyond what `conformance/bad.json` has.
BAD: dict[str, tuple[str | bytes, str, int | None]] = {
    "a raw NUL": ('{"type":"pi\0ng"}', "malformed", None),
    "a type with NUL": ('{"type":"pi\\u0000ng"}', "unknown_type", None),
    "a huge ref": (f'{{"type":"join","ref":1{"0" * 5000},"topic":"rooms/a"}}', "invalid_message", None),
    "depth": ('{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}", "malformed", None),
    "a call before a join": ('{"type":"call","ref":11,"topic":"rooms/a","name":"say"}', "not_joined", 11),
    "a leave before a join": ('{"type":"leave","ref":12,"topic":"rooms/a"}', "not_joined", 12),
    "bytes that are not JSON": (b"\x00\xff\xfe", "malformed", None),
    "bytes that are not UTF-8": (b'{"type":"\xff"}', "malformed", None),
}


async def survives(live: Live) -> None:
    await live.send(type="ping")
    await live.until(lambda message: message["type"] == "pong")


async def test_every_bad_message_of_the_conformance_suite_gets_its_code(server: Running) -> None:
    async with Live(server) as live:
        await live.hello()
        for case in json.loads((CONFORMANCE / "bad.json").read_text()):
            await live.send_raw(case["text"])
            error = await live.receive()
            found = error["type"], error["payload"]["code"], error.get("ref")
            assert found == ("error", case["code"], case["ref"]), case["name"]
            await survives(live)


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_no_good_message_of_the_conformance_suite_is_called_bad(
    server: Running, subprotocol: str
) -> None:
    bad = {"malformed", "invalid_message", "unknown_type"}
    for case in json.loads((CONFORMANCE / "frames.json").read_text()):
        if case["direction"] != "client" or "token" in case["frame"].get("payload", {}):
            continue
        async with Live(server, subprotocols=[subprotocol]) as live:
            await live.send_raw(case["json"] if subprotocol == JSON else bytes.fromhex(case["msgpack"]))
            await live.send(type="ping")
            answers: list[Message] = []
            while not answers or answers[-1]["type"] != "pong":
                answers.append(await live.receive())
            codes = {answer["payload"]["code"] for answer in answers if answer["type"] == "error"}
            assert not codes & bad, case["name"]


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_message_gets_its_code_and_the_connection_survives(server: Running, what: str) -> None:
    data, code, ref = BAD[what]
    async with Live(server) as live:
        await live.hello()
        await live.send_raw(data)
        error = await live.receive()

        assert (error["type"], error["payload"]["code"], error.get("ref")) == ("error", code, ref)
        await survives(live)


async def test_a_bad_first_message_is_answered_after_the_welcome(server: Running) -> None:
    async with Live(server) as live:
        await live.send_raw("nonsense")

        assert (await live.receive())["type"] == "welcome"
        assert (await live.receive())["payload"]["code"] == "malformed"
        await survives(live)


async def test_a_second_hello_is_unexpected(server: Running) -> None:
    async with Live(server) as live:
        await live.hello()
        await live.send(type="hello")

        assert (await live.receive())["payload"]["code"] == "unexpected_hello"
        await survives(live)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x81\xa4type", "malformed"),
        (b'{"type":"ping"}', "invalid_message"),  # the byte of "{" is the number 123
        ('{"type":"ping"}', "malformed"),
        (msgspec.msgpack.encode([1]), "invalid_message"),
        (msgspec.msgpack.encode({"type": "shout"}), "unknown_type"),
        (b"\x81\xa4type\xa4\xff\xff\xff\xff", "malformed"),
        (b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * DEEP + b"\x00", "malformed"),
    ],
)
async def test_an_invalid_msgpack_message_gets_its_code(server: Running, data: Any, code: str) -> None:
    async with Live(server, subprotocols=[MSGPACK]) as live:
        await live.hello()
        await live.send_raw(data)

        assert (await live.receive())["payload"]["code"] == code
        await survives(live)


@pytest.mark.parametrize("letter", ["x", "é", "🦑"])
async def test_a_message_above_the_limit_is_too_large_by_its_bytes(server: Running, letter: str) -> None:
    frame = '{"type":"ping","x":"%s"}'
    limit = 65536 - len(frame) + 2
    async with Live(server) as live:
        await live.hello()
        await live.send_raw(frame % (letter * (limit // len(letter.encode()))))
        assert (await live.receive())["type"] == "pong"

        await live.send_raw(frame % (letter * (limit // len(letter.encode()) + 2)))
        assert (await live.receive())["payload"]["code"] == "too_large"
        await survives(live)


def test_text_that_is_not_utf8_ends_the_connection_as_rfc_6455_wants(server: Running) -> None:
    with Raw(server) as raw:
        raw.send(type="hello")
        raw.until("welcome")
        raw.frame(b'{"type":"\xff\xfe"}')

        with pytest.raises((ConnectionError, TimeoutError), match=r"1007|closed|reset"):
            raw.receive()


async def test_text_of_every_script_arrives_as_it_was_sent(server: Running) -> None:
    text = 'añ 日本語 עברית 🦑 \u0000 \u2028 \\ " \x7f e\u0301 \U0010ffff'
    for subprotocol in ("holdfast.v1.json", MSGPACK):
        async with Live(server, subprotocols=[subprotocol]) as live:
            await live.join("rooms/scripts")
            result = await live.call("rooms/scripts", "say", text=text)
            event = await live.event()

        assert result["type"] == "result"
        assert event["payload"]["text"] == text


async def test_arguments_that_do_not_fit_are_invalid(server: Running) -> None:
    async with Live(server) as live:
        await live.join("rooms/fitting")
        for arguments in ({}, {"text": 7}, {"text": ""}, {"text": "a", "more": 1}, {"text": None}):
            answer = await live.call("rooms/fitting", "say", **arguments)
            assert answer["payload"]["code"] == "invalid_payload", arguments
        await survives(live)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x93\x01\x02\x03",  # an array
        b"\x81\xa4text\xc7\x01\x05a",  # an extension type
        b"\x81\xa4text\xa2\xff\xff",  # not UTF-8
        b"\x81\x91\x01\x01",  # an array as a key
        b"\x81\xa4text" + b"\x91" * 900 + b"\x00",  # deep
    ],
)
async def test_msgpack_that_has_no_json_form_is_an_invalid_payload(server: Running, payload: bytes) -> None:
    call = b"\x85\xa4type\xa4call\xa3ref\x63\xa5topic\xadrooms/fitting\xa4name\xa3say\xa7payload" + payload
    async with Live(server, subprotocols=[MSGPACK]) as live:
        await live.join("rooms/fitting")
        await live.send_raw(call)
        answer = await live.receive()

        assert (answer["ref"], answer["payload"]["code"]) == (0x63, "invalid_payload")
        await survives(live)


async def test_a_call_can_omit_its_payload(server: Running) -> None:
    for subprotocol in (JSON, MSGPACK):
        async with Live(server, subprotocols=[subprotocol]) as live:
            await live.join("rooms/fitting")

            answer = await live.request("call", topic="rooms/fitting", name="refuse")

            assert answer["payload"]["code"] == "refused"


async def test_a_payload_that_is_not_an_object_is_invalid(server: Running) -> None:
    async with Live(server) as live:
        await live.join("rooms/fitting")
        for payload in ([], 7, None, "text"):
            answer = await live.request("call", topic="rooms/fitting", name="say", payload=payload)
            assert answer["payload"]["code"] == "invalid_payload", payload

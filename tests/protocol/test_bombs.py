"""Messages that are built to harm their reader: nesting, numbers, texts, keys."""

import json
import time
from typing import Any

import msgspec
import pytest

from holdfast.protocol import nesting
from holdfast.protocol.codec import JSON, MSGPACK, BadMessage
from holdfast.protocol.effects import Perform

from .driver import Driver

MESSAGES = {
    "hello": '{"type":"hello","payload":{"client":%s}}',
    "join": '{"type":"join","ref":1,"topic":"t","payload":{"since":%s}}',
    "topic": '{"type":"join","ref":1,"topic":%s}',
    "ref": '{"type":"join","ref":%s,"topic":"t"}',
    "call": '{"type":"call","ref":1,"topic":"t","name":"n","key":%s}',
    "refresh": '{"type":"refresh","ref":1,"payload":{"token":%s}}',
    "unknown field": '{"type":"ping","more":%s}',
    "type": '{"type":%s}',
}
VALUES = {
    "deep lists": "[" * 30_000 + "]" * 30_000,
    "deep objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "unclosed": "[" * 60_000,
    "long integer": "9" * 60_000,
    "long fraction": "0." + "1" * 60_000,
    "infinite": "1e999",
    "NaN": "NaN",
    "half a pair": '"\\ud800"',
    "many halves": '"' + "\\ud800" * 10_000 + '"',
    "NUL": '"\\u0000"',
    "control": '"\x01"',
    "repeated keys": '{"a":1,"a":2}',
    "many keys": "{" + ",".join(f'"{number}":0' for number in range(7000)) + "}",
}


@pytest.mark.parametrize("value", [*VALUES])
@pytest.mark.parametrize("message", [*MESSAGES])
def test_each_is_answered_or_ignored_and_the_connection_goes_on(message: str, value: str) -> None:
    driver = Driver()
    driver.say(MESSAGES[message].replace("%s", VALUES[value]))
    driver.say('{"type":"ping"}')

    assert driver.sent[-1]["type"] == "pong" or message in ("refresh", "hello")
    for answer in driver.sent:
        assert len(json.dumps(answer)) < 2000, "an answer must not return what was sent"


def call(payload: bytes) -> bytes:
    return b'{"type":"call","ref":1,"topic":"t","name":"n","payload":' + payload + b"}"


@pytest.mark.parametrize("depth", [64, 65, 400])
@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_arguments_are_at_most_64_levels_deep(codec: Any, depth: int) -> None:
    deep: Any = "[" * 100 + "text with brackets {{{"
    for level in range(depth):
        deep = [deep] if level % 2 else {"a": deep, "b": [[], {}]} if level else [deep]
    raw = (msgspec.json if codec is JSON else msgspec.msgpack).encode(deep)

    if depth == 64:
        assert json.loads(codec.payload(raw)) == deep
    else:
        with pytest.raises(BadMessage, match="at most 64 levels") as bad:
            codec.payload(raw)
        assert bad.value.code.name == "invalid_payload"


@pytest.mark.parametrize(
    "text", [b"[" * 64 + b"]" * 64, b'["' + b'\\"[' * 30_000 + b'"]', b"[" + b"{}," * 20_000 + b"{}]"]
)
def test_shallow_messages_are_recognized_in_linear_time(text: bytes) -> None:
    began = time.process_time()
    assert not nesting.too_deep(text)
    assert time.process_time() - began < 0.2


def test_a_call_with_a_bomb_reaches_no_action() -> None:
    driver = Driver().open().joined(1, "t")
    driver.asked.clear()
    driver.say(call(b"[" * 30_000 + b"]" * 30_000))
    driver.say(call(b'"\\ud800"'))
    driver.say(call(b"NaN"))

    assert not any(isinstance(effect, Perform) for effect in driver.asked)
    assert [answer["payload"]["code"] for answer in driver.sent if answer["type"] == "error"] == [
        "malformed"
    ] * 3

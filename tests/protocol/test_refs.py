"""An undecodable message is answered with its reference wherever that can be found."""

import msgspec
import pytest

from holdfast.protocol.codec import JSON, MSGPACK, BadMessage

HALF = b"\xa3\xed\xa0\xbd"  # U+D83D as UTF-8 would have it, were it allowed
CALL = {"type": "call", "topic": "rooms/lobby", "name": "post", "ref": 7}


def packed(**fields: object) -> bytes:
    return msgspec.msgpack.encode(
        {name: value for name, value in {**CALL, **fields}.items() if value is not None}
    )


def refused(codec: object, data: str | bytes) -> tuple[str, int | None]:
    with pytest.raises(BadMessage) as caught:
        codec.decode(data)  # type: ignore[attr-defined]
    caught.value.detail.encode()  # it goes into an answer
    return caught.value.code.name, caught.value.ref


@pytest.mark.parametrize(
    ("data", "code", "ref"),
    [
        (
            packed(topic=None)[:1].replace(b"\x83", b"\x84") + packed(topic=None)[1:] + b"\xa5topic" + HALF,
            "malformed",
            7,
        ),
        (packed(topic=msgspec.Raw(b"\xc1")), "malformed", None),
        (packed(topic=5), "invalid_message", 7),
        (packed(type=5), "invalid_message", 7),
        (packed(type="post"), "unknown_type", 7),
        (packed(type=msgspec.Raw(HALF)), "malformed", 7),
        (packed(ref=-1), "invalid_message", None),
        (packed(ref=2**53), "invalid_message", None),
        (packed(ref="7"), "invalid_message", None),
        (packed(ref=None, payload={"ref": 3}, topic=5), "invalid_message", None),
        (b"\x81\xa3ref" + b"\x91" * 100_000, "malformed", None),
        (packed(x=msgspec.Raw(b"\x91" * 100_000 + b"\x01")), "malformed", None),
        (b"", "malformed", None),
        (msgspec.msgpack.encode([1]), "invalid_message", None),
        ('{"type":"ping","ref":7}', "malformed", 7),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_messagepack(data: str | bytes, code: str, ref: int | None) -> None:
    assert refused(MSGPACK, data) == (code, ref)


@pytest.mark.parametrize(
    ("data", "code", "ref"),
    [
        (b'{"type":"join","ref":7,"topic":"\xff"}', "malformed", 7),
        ('{"type":"join","topic":"\\ud83d\\ude00\\ud83d","ref":7}', "malformed", 7),
        ('{"type":"join","topic":"x","ref":7,"x":' + "[" * 100_000, "malformed", None),
        ('{"type":"join","topic":5,"ref":true}', "invalid_message", None),
        ('{"type":"join","topic":5,"ref":' + "9" * 5000 + "}", "invalid_message", None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_json(data: str | bytes, code: str, ref: int | None) -> None:
    assert refused(JSON, data) == (code, ref)


def test_a_half_emoji_in_a_payload_is_answered_under_the_calls_reference() -> None:
    call = MSGPACK.decode(packed(payload=msgspec.Raw(b"\x81\xa4body" + HALF)))
    with pytest.raises(BadMessage) as caught:
        MSGPACK.payload(bytes(call.payload))  # type: ignore[union-attr, arg-type]
    assert caught.value.code.name == "invalid_payload"

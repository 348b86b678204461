"""Any bytes, split anywhere, give the same messages or the same error, and nothing is held longer than needed."""

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from holdfast.server import framing
from holdfast.server.deflate import Deflate
from holdfast.server.parser import Parser

from . import fuzz
from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    frame,
    oracle,
    portions,
    read,
    understood,
)

MAX = 1000

opcodes = st.sampled_from((CONTINUATION, TEXT, BINARY, PING, PONG, 3, 8, 11))
payloads = st.one_of(
    st.binary(max_size=130),
    st.text(max_size=60).map(str.encode),
    st.integers(0, 1100).map(lambda size: b"x" * size),
    st.integers(0, 1100).map(lambda size: Deflate().deflate(b"x" * size)),
)
nearly_right = st.builds(
    frame,
    opcodes,
    payloads,
    fin=st.booleans(),
    rsv=st.sampled_from((0, 0, 0, 0, 4, 1)),
    mask=st.sampled_from((b"\0\0\0\0", b"\x01\x02\x03\x04", None)),
)
right = st.builds(frame, st.sampled_from((TEXT, BINARY, PING)), st.text(max_size=30).map(str.encode))
streams = st.lists(st.one_of(right, right, right, nearly_right, st.binary(max_size=20)), max_size=8).map(
    b"".join
)


@settings(max_examples=200, deadline=None)
@given(streams, st.randoms(use_true_random=False), st.booleans())
@example(frame(TEXT, "one") + frame(TEXT, b"\xff"), random.Random(1), False)
@example(frame(TEXT, "one") + close(1000) + frame(3), random.Random(1), False)
@example(frame(PING, b"", mask=None), random.Random(1), False)
def test_any_split_of_any_bytes_gives_the_same_result(
    data: bytes, source: random.Random, compressed: bool
) -> None:
    deflate = Deflate() if compressed else None
    whole = read(Parser(MAX, deflate), data)

    assert read(Parser(MAX, deflate), *portions(data, source)) == whole
    assert read(Parser(MAX, deflate), *portions(data, source, 3)) == whole
    assert read(Parser(MAX, deflate), *(data[at : at + 1] for at in range(len(data)))) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=1500), max_size=12), st.booleans())
def test_any_bytes_raise_only_protocol_errors_and_are_not_held_beyond_the_limit(
    data: list[bytes], compressed: bool
) -> None:
    parser = Parser(MAX, Deflate() if compressed else None)
    for portion in data:
        read(parser, portion)
        assert parser.held <= MAX + fuzz.MORE


messages = st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=6)


@settings(max_examples=100, deadline=None)
@given(messages, st.randoms(use_true_random=False), st.booleans())
def test_what_the_websockets_library_sends_is_received(
    sent: list[str | bytes], source: random.Random, compressed: bool
) -> None:
    client = oracle(deflate=compressed)
    for message in sent:
        _send_in_fragments(client, message, source)
        client.send_ping(b"now")
    data = b"".join(client.data_to_send())

    received, failure = read(Parser(4096, Deflate() if compressed else None), *portions(data, source))

    assert failure is None
    assert [m.data for m in received if m.opcode != PING] == sent


def _send_in_fragments(client: Any, message: str | bytes, source: random.Random) -> None:
    data = message.encode() if isinstance(message, str) else message
    parts = list(portions(data, source)) or [b""]
    last = len(parts) - 1
    send = client.send_text if isinstance(message, str) else client.send_binary
    for number, part in enumerate(parts):
        if number == 0:
            send(part, fin=last == 0)
        else:
            client.send_continuation(part, fin=number == last)


@settings(max_examples=100, deadline=None)
@given(messages, st.randoms(use_true_random=False), st.booleans())
def test_what_wsproto_sends_is_received(
    sent: list[str | bytes], source: random.Random, compressed: bool
) -> None:
    client = Connection(ConnectionType.CLIENT, _agreed() if compressed else [])
    data = b"".join(
        client.send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))
        for message in sent
    )

    received, failure = read(Parser(4096, Deflate() if compressed else None), *portions(data, source))

    assert failure is None
    assert [m.data for m in received] == sent


@settings(max_examples=100, deadline=None)
@given(messages, st.booleans())
def test_what_is_sent_is_understood_by_both_libraries(sent: list[str | bytes], compressed: bool) -> None:
    deflate = Deflate()
    data = b""
    for message in sent:
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        payload = deflate.deflate(payload) if compressed else payload
        data += framing.encode(opcode, payload, compressed=compressed)

    seen = [
        bytes(event.data).decode() if event.opcode == TEXT else bytes(event.data)
        for event in understood(data, deflate=compressed)
    ]
    assert seen == sent

    peer = Connection(ConnectionType.CLIENT, _agreed() if compressed else [])
    peer.receive_data(data)
    assert [event.data for event in peer.events() if isinstance(event, TextMessage | BytesMessage)] == sent


def _agreed() -> list[Any]:
    extension = WsprotoDeflate()
    extension.offer()
    extension.finalize("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    return [extension]


@pytest.fixture
def source() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_twenty_thousand_random_frames_reach_every_outcome(source: random.Random) -> None:
    """The million is `python -m tests.server.fuzz`."""
    seen = fuzz.attack(20_000, source)

    expected = {
        *(f"opcode {opcode}" for opcode in (TEXT, BINARY, CLOSE, PING, PONG)),
        "INVALID_DATA: text is not UTF-8",
        "INVALID_DATA: compressed data is broken",
        "PROTOCOL_ERROR: reserved bit set",
        "PROTOCOL_ERROR: unknown opcode",
        "PROTOCOL_ERROR: frame is not masked",
        "PROTOCOL_ERROR: continuation out of place",
        "PROTOCOL_ERROR: control frame long or fragmented",
        "PROTOCOL_ERROR: close code is not valid",
        f"TOO_BIG: message longer than {fuzz.MAX_SIZE} bytes",
    }
    assert expected <= seen.keys()


def test_random_frames_leave_nothing_behind(source: random.Random) -> None:
    assert fuzz.grows_by(3000, source) < 20_000

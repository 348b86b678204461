"""RFC 7692: permessage-deflate, negotiated and used without context takeover."""

import random
import zlib

import pytest
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from holdfast.server import framing
from holdfast.server.deflate import TAIL, WINDOW_BITS, Deflate, TooMuch, negotiate
from holdfast.server.framing import BINARY, TEXT, ClientMessage
from holdfast.server.parser import Parser

from .frames import CONTINUATION, PING, frame, oracle, read, understood

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
SMALLER = f"{AGREED}; server_max_window_bits={WINDOW_BITS}"

MAX = 1 << 20


def failure(parser: Parser, data: bytes) -> tuple[int, str]:
    messages, error = read(parser, data)
    assert error is not None, f"was read: {messages!r:.200}"
    return error


@pytest.fixture
def parser() -> Parser:
    return Parser(MAX, Deflate())


class TestNegotiation:
    """5 and 7.1."""

    @pytest.mark.parametrize(
        ("offers", "response"),
        [
            ("permessage-deflate", AGREED),
            ("permessage-deflate; client_max_window_bits", AGREED),  # browsers
            ("Permessage-Deflate ;client_max_window_bits=15", AGREED),
            ("permessage-deflate; client_max_window_bits=8", AGREED),
            ("permessage-deflate; server_no_context_takeover", AGREED),
            ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", AGREED),
            ("permessage-deflate; server_max_window_bits=15", SMALLER),
            ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", SMALLER),
            ('permessage-deflate; server_max_window_bits="13"', SMALLER),
            # 5.1: the client's order is its preference; the first that will do is taken
            ("x-webkit-deflate-frame, permessage-deflate", AGREED),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", AGREED),
            ("permessage-deflate; server_max_window_bits=14, permessage-deflate", SMALLER),
            # 7.1: declined
            ("", None),
            ("permessage-bzip2", None),
            ("permessage-deflate; server_max_window_bits=11", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=012", None),
            ("permessage-deflate; server_max_window_bits=12; server_max_window_bits=12", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=08", None),
            ("permessage-deflate; client_max_window_bits=", None),
            ("permessage-deflate; client_max_window_bits=\N{SUPERSCRIPT TWO}", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=true", None),
            ("permessage-deflate; unknown", None),
            ("permessage-deflate;", None),
        ],
    )
    def test_7_1_offers_and_responses(self, offers: str, response: str | None) -> None:
        assert negotiate(offers) == response

    @pytest.mark.parametrize("server_bits", [None, 8, 11, 12, 13, 15])
    @pytest.mark.parametrize("client_bits", [None, True, 9, 15])
    @pytest.mark.parametrize("server_takeover", [True, False])
    @pytest.mark.parametrize("client_takeover", [True, False])
    def test_7_1_the_websockets_library_accepts_the_response(
        self,
        server_bits: int | None,
        client_bits: int | bool | None,
        server_takeover: bool,
        client_takeover: bool,
    ) -> None:
        factory = ClientPerMessageDeflateFactory(
            server_no_context_takeover=not server_takeover,
            client_no_context_takeover=not client_takeover,
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
        )
        response = negotiate(build_extension([(factory.name, factory.get_request_params())]))

        if server_bits is not None and server_bits < WINDOW_BITS:
            assert response is None
            return
        assert response is not None
        ((_, parameters),) = parse_extension(response)
        try:
            extension = factory.process_response_params(parameters, [])
        except NegotiationError as error:
            pytest.fail(f"{response}: {error}")
        assert extension.remote_no_context_takeover
        assert extension.local_no_context_takeover

    def test_7_1_wsproto_accepts_the_response(self) -> None:
        client = WsprotoDeflate()
        offer = client.offer()
        assert isinstance(offer, str)
        response = negotiate(f"permessage-deflate; {offer}")

        assert response is not None
        client.finalize(response)
        assert client.enabled()


class TestSending:
    """7.2.1."""

    def test_7_2_1_the_tail_is_omitted(self) -> None:
        packed = Deflate().deflate(b"Hello")

        assert not packed.endswith(TAIL)
        assert zlib.decompressobj(-15).decompress(packed + TAIL) == b"Hello"

    @pytest.mark.parametrize("payload", [b"", b"x", b"Hello", b"ab" * 100_000, bytes(range(256)) * 40])
    def test_7_2_1_the_websockets_library_inflates_it(self, payload: bytes) -> None:
        data = framing.encode(BINARY, Deflate().deflate(payload), compressed=True)

        assert [seen.data for seen in understood(data, deflate=True)] == [payload]

    def test_7_1_1_nothing_is_kept_between_messages(self) -> None:
        deflate = Deflate()

        assert deflate.deflate(b"the same text again") == deflate.deflate(b"the same text again")

    def test_7_1_2_nothing_refers_back_further_than_was_negotiated(self) -> None:
        payload = random.Random(1).randbytes(5000) * 2
        packed = Deflate().deflate(payload)

        unpacker = zlib.decompressobj(-WINDOW_BITS)
        data, rest = b"", packed + TAIL
        while rest:  # in portions, or zlib finds everything in what it has just written
            data += unpacker.decompress(rest, 100)
            rest = unpacker.unconsumed_tail
        assert data + unpacker.flush() == payload


class TestReceiving:
    """6 and 7.2.2."""

    @pytest.mark.parametrize("text", ["", "Hello", "Grüße " * 1000])
    def test_7_2_2_messages_are_inflated(self, parser: Parser, text: str) -> None:
        client = oracle(deflate=True)
        client.send_text(text.encode())

        assert parser.feed(b"".join(client.data_to_send())) == [ClientMessage(TEXT, text)]

    def test_7_2_3_1_and_2_the_examples(self, parser: Parser) -> None:
        hello = bytes.fromhex("f248cdc9c90700")

        assert parser.feed(frame(TEXT, hello, rsv=4)) == [ClientMessage(TEXT, "Hello")]
        fragments = frame(TEXT, hello[:3], rsv=4, fin=False) + frame(CONTINUATION, hello[3:])
        assert parser.feed(fragments) == [ClientMessage(TEXT, "Hello")]

    def test_7_2_3_3_a_block_without_compression(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4)) == [
            ClientMessage(TEXT, "Hello")
        ]

    def test_7_2_3_4_a_block_marked_as_the_last(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4)) == [
            ClientMessage(TEXT, "Hello")
        ]

    def test_7_2_3_4_data_after_a_last_block_is_not_lost(self, parser: Parser) -> None:
        twice = bytes.fromhex("f348cdc9c90700") + bytes.fromhex("f248cdc9c90700")

        assert parser.feed(frame(TEXT, twice, rsv=4)) == [ClientMessage(TEXT, "HelloHello")]

    def test_7_2_3_5_two_blocks(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, bytes.fromhex("f24805000000ffffcac9c90700"), rsv=4)) == [
            ClientMessage(TEXT, "Hello")
        ]

    def test_6_a_message_may_come_uncompressed(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, "plain")) == [ClientMessage(TEXT, "plain")]

    def test_6_1_only_the_first_fragment_is_marked(self, parser: Parser) -> None:
        data = frame(TEXT, b"\xf2\x48", rsv=4, fin=False) + frame(CONTINUATION, b"\xcd", rsv=4)

        assert failure(parser, data) == (1002, "reserved bit set")

    def test_6_1_control_frames_are_not_compressed(self, parser: Parser) -> None:
        assert failure(parser, frame(PING, rsv=4)) == (1002, "reserved bit set")

    @pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
    def test_6_the_other_bits_remain_reserved(self, parser: Parser, rsv: int) -> None:
        assert failure(parser, frame(TEXT, b"\xf2\x48\xcd", rsv=rsv))[0] == 1002

    def test_7_2_2_data_that_is_not_a_deflate_stream_is_refused(self, parser: Parser) -> None:
        assert failure(parser, frame(BINARY, b"\xff\xff\xff\xff", rsv=4)) == (
            1007,
            "compressed data is broken",
        )

    def test_7_2_2_inflated_text_is_utf_8(self, parser: Parser) -> None:
        packed = Deflate().deflate(b"\xed\xa0\x80")

        assert failure(parser, frame(TEXT, packed, rsv=4)) == (1007, "text is not UTF-8")

    @pytest.mark.parametrize("size", [1 << 20, 1 << 12])
    def test_a_message_of_exactly_the_limit_is_inflated(self, size: int) -> None:
        packed = Deflate().deflate(b"x" * size)

        assert Deflate().inflate(packed, size) == b"x" * size
        with pytest.raises(TooMuch):
            Deflate().inflate(packed, size - 1)

    def test_a_bomb_is_refused_before_it_is_inflated(self, parser: Parser) -> None:
        import tracemalloc

        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush(zlib.Z_SYNC_FLUSH)
        data = frame(BINARY, bomb[:-4], rsv=4)
        tracemalloc.start()
        try:
            assert failure(parser, data) == (1009, f"message longer than {MAX} bytes")
            assert tracemalloc.get_traced_memory()[1] < 4 * MAX + len(data) * 3
        finally:
            tracemalloc.stop()

    def test_a_stream_that_ends_again_and_again_is_refused(self, parser: Parser) -> None:
        """Each would copy the rest: quadratic work."""
        data = frame(BINARY, b"\x03\x00" * 500_000, rsv=4)

        assert failure(parser, data) == (1007, "compressed data is broken")

    def test_an_extension_that_was_not_negotiated_is_refused(self) -> None:
        assert failure(Parser(MAX), frame(TEXT, Deflate().deflate(b"x"), rsv=4)) == (1002, "reserved bit set")

"""RFC 6455, sections 5 to 8, read without a socket. Each class is a section of it."""

import tracemalloc

import pytest

from holdfast.server import framing
from holdfast.server.deflate import Deflate
from holdfast.server.framing import ClientMessage, ProtocolError, TooManyFrames
from holdfast.server.masking import apply_mask, apply_mask_slowly
from holdfast.server.parser import Pace, Parser

from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    frame,
    masked,
    oracle,
    read,
    understood,
)

MAX = 1 << 20


@pytest.fixture
def parser() -> Parser:
    return Parser(MAX)


def failure(*data: bytes, parser: Parser | None = None) -> tuple[int, str]:
    messages, error = read(parser or Parser(MAX), *data)
    assert error is not None, f"was read: {messages!r:.200}"
    return error


def texts(messages: list[ClientMessage]) -> list[str | bytes]:
    return [message.data for message in messages]


class TestMasking:
    """5.1 and 5.3."""

    def test_5_1_an_unmasked_frame_ends_the_connection(self) -> None:
        assert failure(frame(TEXT, "hi", mask=None)) == (1002, "frame is not masked")

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_5_1_an_unmasked_control_frame_ends_the_connection(self, opcode: int) -> None:
        assert failure(frame(opcode, mask=None))[0] == 1002

    def test_5_1_frames_of_the_server_are_not_masked(self) -> None:
        assert framing.encode(TEXT, b"hi") == b"\x81\x02hi"

    @pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x80"])
    def test_5_3_every_key_is_removed(self, parser: Parser, mask: bytes) -> None:
        assert parser.feed(frame(TEXT, "Grüße", mask=mask)) == [ClientMessage(TEXT, "Grüße")]

    def test_5_3_each_frame_has_a_key_of_its_own(self, parser: Parser) -> None:
        data = frame(BINARY, b"one", mask=b"abcd", fin=False) + frame(CONTINUATION, b"two", mask=b"wxyz")

        assert parser.feed(data) == [ClientMessage(BINARY, b"onetwo")]

    @pytest.mark.parametrize("size", [*range(18), 125, 126, 1000, 65537])
    @pytest.mark.parametrize("unmask", [apply_mask, apply_mask_slowly])
    def test_5_3_both_implementations_do_what_the_section_says(self, size: int, unmask: object) -> None:
        data = bytes((i * 7 + size) % 256 for i in range(size))

        assert callable(unmask)
        assert unmask(data, b"\x01\x80\xff\x5a") == masked(data, b"\x01\x80\xff\x5a")

    def test_5_7_the_examples(self, parser: Parser) -> None:
        assert parser.feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [ClientMessage(TEXT, "Hello")]
        assert parser.feed(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [ClientMessage(PONG, b"Hello")]


class TestFrameFormat:
    """5.2."""

    @pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537])
    def test_5_2_lengths_of_7_16_and_64_bits_are_read(self, parser: Parser, size: int) -> None:
        assert parser.feed(frame(BINARY, b"x" * size)) == [ClientMessage(BINARY, b"x" * size)]

    @pytest.mark.parametrize(("size", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
    def test_5_2_lengths_are_written_in_their_shortest_form(self, size: int, header: int) -> None:
        encoded = framing.encode(BINARY, b"x" * size)

        assert len(encoded) == header + size
        assert [seen.data for seen in understood(encoded)] == [b"x" * size]

    @pytest.mark.parametrize(("size", "width"), [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)])
    def test_5_2_a_length_in_a_longer_form_is_refused(self, size: int, width: int) -> None:
        assert failure(frame(BINARY, b"x" * size, width=width)) == (
            1002,
            "length not in its shortest form",
        )

    def test_5_2_the_highest_bit_of_a_long_length_is_zero(self) -> None:
        assert failure(frame(BINARY, length=1 << 63, width=8))[0] == 1002

    @pytest.mark.parametrize("rsv", [1, 2, 3, 4, 5, 6, 7])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
    def test_5_2_reserved_bits_need_an_extension(self, rsv: int, opcode: int) -> None:
        assert failure(frame(opcode, b"", rsv=rsv)) == (1002, "reserved bit set")

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_5_2_unknown_opcodes_are_refused(self, opcode: int) -> None:
        assert failure(frame(opcode)) == (1002, "unknown opcode")

    def test_5_2_an_invalid_frame_is_refused_by_its_first_two_bytes(self) -> None:
        assert failure(b"\x83\x80")[0] == 1002
        assert failure(b"\x81\x00")[0] == 1002

    def test_7_1_7_messages_before_an_invalid_frame_are_not_lost(self, parser: Parser) -> None:
        with pytest.raises(ProtocolError) as error:
            parser.feed(frame(TEXT, "one") + frame(TEXT, "two") + frame(7))

        assert texts(error.value.before) == ["one", "two"]


class TestFragmentation:
    """5.4."""

    def test_5_4_fragments_become_one_message(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, "Ho", fin=False)) == []
        assert parser.feed(frame(CONTINUATION, "ld", fin=False)) == []
        assert parser.feed(frame(CONTINUATION, "fast")) == [ClientMessage(TEXT, "Holdfast")]

    def test_5_4_fragments_may_be_empty(self, parser: Parser) -> None:
        data = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION)

        assert parser.feed(data) == [ClientMessage(BINARY, b"")]

    @pytest.mark.parametrize("opcode", [PING, PONG])
    def test_5_4_control_frames_come_between_fragments(self, parser: Parser, opcode: int) -> None:
        data = frame(TEXT, "Hold", fin=False) + frame(opcode, b"now") + frame(CONTINUATION, "fast")

        assert parser.feed(data) == [ClientMessage(opcode, b"now"), ClientMessage(TEXT, "Holdfast")]

    def test_5_4_a_close_between_fragments_closes(self, parser: Parser) -> None:
        assert parser.feed(frame(TEXT, "Hold", fin=False) + close(1001)) == [ClientMessage(CLOSE, "", 1001)]
        assert parser.held == 0

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize("fin", [True, False])
    def test_5_4_no_other_message_begins_between_fragments(self, opcode: int, fin: bool) -> None:
        data = frame(TEXT, "Hold", fin=False) + frame(opcode, b"x", fin=fin)

        assert failure(data) == (1002, "continuation out of place")

    @pytest.mark.parametrize("fin", [True, False])
    def test_5_4_a_continuation_without_a_beginning_is_refused(self, fin: bool) -> None:
        assert failure(frame(CONTINUATION, b"x", fin=fin)) == (1002, "continuation out of place")

    def test_5_4_a_continuation_after_the_end_is_refused(self) -> None:
        whole = frame(TEXT, "Hold", fin=False) + frame(CONTINUATION, "fast")

        assert failure(whole + frame(CONTINUATION, "!"))[0] == 1002

    def test_5_4_a_short_whole_message_is_refused_too_while_fragments_wait(self, parser: Parser) -> None:
        parser.feed(frame(TEXT, "Hold", fin=False))

        assert failure(frame(TEXT, "x"), parser=parser)[0] == 1002


class TestControlFrames:
    """5.5."""

    @pytest.mark.parametrize("opcode", [PING, PONG])
    def test_5_5_control_frames_carry_up_to_125_bytes(self, parser: Parser, opcode: int) -> None:
        assert parser.feed(frame(opcode, b"x" * 125)) == [ClientMessage(opcode, b"x" * 125)]

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_5_5_longer_control_frames_are_refused(self, opcode: int) -> None:
        assert failure(frame(opcode, b"x" * 126)) == (1002, "control frame long or fragmented")

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_5_5_fragmented_control_frames_are_refused(self, opcode: int) -> None:
        assert failure(frame(opcode, fin=False)) == (1002, "control frame long or fragmented")

    def test_5_5_2_a_ping_may_be_empty(self, parser: Parser) -> None:
        assert parser.feed(frame(PING)) == [ClientMessage(PING, b"")]

    def test_5_5_3_a_pong_that_is_written_is_understood(self) -> None:
        (pong,) = understood(framing.encode(PONG, b"now"))

        assert (pong.opcode, pong.data) == (PONG, b"now")


class TestClosing:
    """5.5.1 and 7."""

    def test_5_5_1_nothing_is_read_after_a_close(self, parser: Parser) -> None:
        assert parser.feed(close(1000) + frame(TEXT, "late")) == [ClientMessage(CLOSE, "", 1000)]
        assert parser.feed(frame(TEXT, "later")) == []
        assert parser.feed(b"\xff\xff\xff") == []
        assert parser.held == 0

    def test_7_1_7_nothing_is_read_after_an_error(self, parser: Parser) -> None:
        failure(frame(TEXT, "Hold", fin=False) + frame(3), parser=parser)

        assert parser.feed(frame(TEXT, "later")) == []
        assert parser.held == 0

    def test_7_1_5_a_close_without_a_code_is_1005(self, parser: Parser) -> None:
        assert parser.feed(close()) == [ClientMessage(CLOSE, "", 1005)]

    def test_7_1_6_a_close_has_a_reason(self, parser: Parser) -> None:
        assert parser.feed(close(1001, "läuft aus".encode())) == [ClientMessage(CLOSE, "läuft aus", 1001)]

    def test_5_5_1_half_a_code_is_refused(self) -> None:
        assert failure(frame(CLOSE, b"\x03")) == (1002, "close code is not valid")

    def test_5_5_1_a_reason_is_utf_8(self) -> None:
        assert failure(close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")) == (
            1007,
            "close reason is not UTF-8",
        )

    @pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
    def test_7_4_codes_that_a_client_may_send(self, parser: Parser, code: int) -> None:
        assert parser.feed(close(code)) == [ClientMessage(CLOSE, "", code)]

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
    def test_7_4_codes_that_no_client_may_send(self, code: int) -> None:
        assert failure(close(code)) == (1002, "close code is not valid")

    def test_7_4_the_library_agrees_on_each_code(self) -> None:
        for code in [*range(990, 1030), 2999, 3000, 4999, 5000]:
            client = oracle()
            client.receive_data(b"\x88\x02" + code.to_bytes(2, "big"))
            assert framing.valid_close_code(code) == (client.parser_exc is None), code

    def test_7_1_5_a_close_is_written_with_code_and_reason(self) -> None:
        client = oracle()
        client.receive_data(framing.encode_close(4001, "signed out"))

        assert client.close_rcvd is not None
        assert (client.close_rcvd.code, client.close_rcvd.reason) == (4001, "signed out")

    def test_7_4_1_a_close_without_a_code_is_written_without_one(self) -> None:
        assert framing.encode_close(1005) == b"\x88\x00"

    @pytest.mark.parametrize("reason", ["x" * 200, "é" * 100, "€" * 100, "🌊" * 100])
    def test_5_5_a_reason_that_is_too_long_is_cut_between_characters(self, reason: str) -> None:
        (written,) = understood(framing.encode_close(1000, reason))

        assert len(written.data) <= 125
        cut = bytes(written.data[2:]).decode()
        assert reason.startswith(cut)
        assert len(cut.encode()) > 119


class TestText:
    """8.1."""

    WRONG = (
        b"\x80",
        b"\xc3\x28",
        b"\xed\xa0\x80",  # a surrogate
        b"\xf4\x90\x80\x80",  # past U+10FFFF
        b"\xc0\xaf",  # longer than it need be
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    )

    @pytest.mark.parametrize("wrong", WRONG)
    def test_8_1_text_is_utf_8(self, wrong: bytes) -> None:
        assert failure(frame(TEXT, wrong)) == (1007, "text is not UTF-8")
        assert failure(frame(TEXT, b"x" * 200 + wrong)) == (1007, "text is not UTF-8")

    @pytest.mark.parametrize("wrong", WRONG)
    def test_8_1_binary_messages_may_be_any_bytes(self, parser: Parser, wrong: bytes) -> None:
        assert parser.feed(frame(BINARY, wrong)) == [ClientMessage(BINARY, wrong)]

    def test_8_1_text_that_ends_within_a_character_is_refused(self) -> None:
        assert failure(frame(TEXT, "€".encode()[:2]))[0] == 1007
        assert failure(frame(TEXT, "€".encode()[:1], fin=False) + frame(CONTINUATION, b"\x82"))[0] == 1007

    def test_5_6_a_character_may_be_divided_among_fragments(self, parser: Parser) -> None:
        wave = "🌊".encode()
        data = frame(TEXT, wave[:1], fin=False) + frame(CONTINUATION, wave[1:3], fin=False)

        assert parser.feed(data + frame(CONTINUATION, wave[3:])) == [ClientMessage(TEXT, "🌊")]

    @pytest.mark.parametrize("wrong", WRONG)
    def test_8_1_invalid_text_is_detected_before_the_message_ends(self, wrong: bytes) -> None:
        assert failure(frame(TEXT, b"ok", fin=False) + frame(CONTINUATION, wrong + b"..", fin=False)) == (
            1007,
            "text is not UTF-8",
        )

    def test_8_1_invalid_text_is_detected_across_fragments(self) -> None:
        data = frame(TEXT, b"\xce\xba\xf4", fin=False) + frame(CONTINUATION, b"\x90", fin=False)

        assert failure(data) == (1007, "text is not UTF-8")


class TestSize:
    """10.4: bounds on what a client can make the server hold."""

    def test_10_4_a_message_of_exactly_the_limit_is_read(self) -> None:
        assert Parser(1000).feed(frame(BINARY, b"x" * 1000)) == [ClientMessage(BINARY, b"x" * 1000)]
        assert Parser(10).feed(frame(TEXT, "x" * 10)) == [ClientMessage(TEXT, "x" * 10)]

    @pytest.mark.parametrize("limit", [10, 124, 125, 126, 1000])
    def test_10_4_one_byte_more_is_too_much(self, limit: int) -> None:
        assert failure(frame(TEXT, "x" * (limit + 1)), parser=Parser(limit)) == (
            1009,
            f"message longer than {limit} bytes",
        )

    @pytest.mark.parametrize("length", [MAX + 1, 1 << 32, (1 << 63) - 1])
    def test_10_4_a_declared_length_is_refused_before_its_payload_arrives(self, length: int) -> None:
        header = frame(BINARY, length=length)[:10]

        assert failure(header) == (1009, f"message longer than {MAX} bytes")

    def test_10_4_fragments_count_together(self) -> None:
        parser = Parser(1000)
        assert parser.feed(frame(BINARY, b"x" * 600, fin=False)) == []

        assert failure(frame(CONTINUATION, length=401)[:4], parser=parser)[0] == 1009

    def test_10_4_each_message_counts_by_itself(self) -> None:
        parser = Parser(1000)

        for _ in range(3):
            data = frame(BINARY, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 400)
            assert [len(message.data) for message in parser.feed(data)] == [1000]

    def test_10_4_control_frames_do_not_count(self) -> None:
        parser = Parser(100)
        parser.feed(frame(BINARY, b"x" * 100, fin=False))

        assert parser.feed(frame(PING, b"y" * 125)) == [ClientMessage(PING, b"y" * 125)]

    def test_a_declared_length_reserves_nothing(self) -> None:
        parser = Parser(1 << 30)
        tracemalloc.start()
        try:
            parser.feed(frame(BINARY, length=1 << 30)[:10] + b"mask")
            assert tracemalloc.get_traced_memory()[1] < 10_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_small_fragments_take_no_more_memory_than_their_bytes(self, size: int) -> None:
        parser = Parser(10_000)
        parser.feed(frame(BINARY, b"", fin=False))
        tiny = frame(CONTINUATION, b"x" * size, fin=False) * 100
        tracemalloc.start()
        try:
            for _ in range(50):
                parser.feed(tiny)
            assert parser.held == 5000 * size
            kept = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, "*/holdfast/server/*")]
            )
            assert sum(trace.size for trace in kept.traces) < 15_000
        finally:
            tracemalloc.stop()

    def test_a_frame_that_arrives_byte_by_byte_is_not_copied_for_each_byte(self) -> None:
        parser = Parser(MAX)
        data = frame(BINARY, b"x" * (MAX - 100))
        middle = MAX // 2
        tracemalloc.start()
        try:
            parser.feed(data[:middle])
            parser.feed(data[middle : middle + 1])
            tracemalloc.reset_peak()
            for at in range(middle + 1, middle + 1000):
                parser.feed(data[at : at + 1])
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - now < MAX // 4

        messages, _ = read(parser, *(data[at : at + 16] for at in range(middle + 1000, len(data), 16)))
        assert [len(message.data) for message in messages] == [MAX - 100]

    def test_an_idle_parser_holds_nothing(self, parser: Parser) -> None:
        parser.feed(frame(TEXT, "x" * 70_000)[:40_000])
        assert parser.held == 40_000
        parser.feed(frame(TEXT, "x" * 70_000)[40_000:])

        assert parser.held == 0


def test_the_fast_path_is_taken_only_between_messages() -> None:
    """A whole short text looks the same while a frame is incomplete."""
    parser = Parser(MAX)
    inner = frame(TEXT, "inner")
    outer = frame(BINARY, inner, mask=b"\0\0\0\0")

    assert parser.feed(outer[:6]) == []
    assert parser.feed(outer[6:]) == [ClientMessage(BINARY, inner)]


def outcome(parser: Parser, *portions: bytes) -> list[ClientMessage] | tuple[int, str]:
    try:
        return [message for portion in portions for message in parser.feed(portion)]
    except ProtocolError as error:
        return error.code, error.reason


@pytest.mark.parametrize(
    "sent",
    [
        *(
            frame(opcode, "é" * (size // 2) + "x" * (size % 2), rsv=rsv)
            for opcode in (TEXT, BINARY, PING)
            for rsv in (0, 4)
            for size in (125, 126, 127, 500, 501, 600, 65535, 65536)
        ),
        frame(TEXT, b"x" * 100 + b"\xff" + b"x" * 100),
        frame(TEXT, b"x" * 100, width=2),
        frame(TEXT, b"x" * 200, length=201),
        frame(TEXT, b"x" * 200, mask=None),
        frame(TEXT, b"x" * 200, fin=False),
        frame(CONTINUATION, b"x" * 200),
    ],
)
def test_a_message_that_comes_whole_is_what_it_is_in_portions(sent: bytes) -> None:
    whole, portions = Parser(70_000, keep=500), Parser(70_000, keep=500)

    assert outcome(whole, sent) == outcome(portions, *(sent[at : at + 1] for at in range(len(sent))))
    assert outcome(whole, frame(TEXT, "next")) == outcome(portions, frame(TEXT, "next"))


def test_a_compressed_short_frame_does_not_take_the_fast_path() -> None:
    parser = Parser(MAX, Deflate())

    assert parser.feed(frame(TEXT, Deflate().deflate(b"hello"), rsv=4)) == [ClientMessage(TEXT, "hello")]


class TestKeeping:
    """A connection takes shorter messages than the server: longer ones are dropped while they arrive."""

    @pytest.fixture
    def parser(self) -> Parser:
        return Parser(MAX, Deflate(), keep=1000)

    @pytest.mark.parametrize("portion", [1, 7, 1 << 20])
    @pytest.mark.parametrize(
        "data",
        [
            frame(TEXT, b"x" * 1001),
            frame(BINARY, b"x" * 100_000),
            frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 401),
            frame(TEXT, b"x" * 1001, fin=False) + frame(CONTINUATION),
            frame(TEXT, b"x" * 1001, fin=False) + frame(PING) + frame(CONTINUATION, b"x" * 5000),
            frame(TEXT, fin=False) + frame(CONTINUATION, b"x" * 1001),
            frame(TEXT, Deflate().deflate(b"x" * 1001), rsv=4),
            frame(TEXT, Deflate().deflate(bytes(range(256)) * 40) * 20, rsv=4),
        ],
        ids=["text", "binary", "fragments", "first", "ping", "last", "inflated", "compressed"],
    )
    def test_a_longer_message_is_reported_without_its_data(
        self, parser: Parser, data: bytes, portion: int
    ) -> None:
        whole = data + frame(TEXT, "after")
        messages: list[ClientMessage] = []
        held = 0
        for at in range(0, len(whole), portion):
            messages += parser.feed(whole[at : at + portion])
            held = max(held, parser.held)

        assert [m for m in messages if m.opcode != PING] == [
            ClientMessage(framing.OVERSIZED, b""),
            ClientMessage(TEXT, "after"),
        ]
        assert parser.between
        assert held <= 1000 + 14

    @pytest.mark.parametrize("size", [999, 1000])
    def test_a_message_of_the_limit_is_taken(self, parser: Parser, size: int) -> None:
        assert parser.feed(frame(TEXT, "x" * size)) == [ClientMessage(TEXT, "x" * size)]
        assert parser.feed(frame(TEXT, "x" * (size - 1), fin=False) + frame(CONTINUATION, "y")) == [
            ClientMessage(TEXT, "x" * (size - 1) + "y")
        ]

    def test_a_message_above_the_server_s_limit_still_fails(self, parser: Parser) -> None:
        assert failure(frame(TEXT, "x" * (MAX + 1)), parser=parser)[0] == 1009

    def test_so_do_dropped_fragments_that_exceed_it_together(self, parser: Parser) -> None:
        data = frame(TEXT, b"x" * 65536, fin=False) + frame(CONTINUATION, b"x" * 65536, fin=False) * 16

        assert failure(data, parser=parser)[0] == 1009


class TestPace:
    def test_frames_without_a_message_gain_fifty_a_second(self) -> None:
        now = 0.0
        parser = Parser(MAX, pace=Pace(per_turn=1000), clock=lambda: now)
        parser.feed(frame(PING) * 100)
        now = 1.0
        parser.feed(frame(PONG) * 50)
        with pytest.raises(TooManyFrames):
            parser.feed(frame(PING))

    def test_messages_and_large_fragments_do_not_count(self) -> None:
        parser = Parser(MAX, pace=Pace(per_turn=10_000), clock=lambda: 0.0)
        large = frame(TEXT, b"x" * 1024, fin=False) + frame(CONTINUATION, b"x" * 1024)

        assert len(parser.feed(large * 200 + frame(TEXT, "x") * 200)) == 400

    def test_a_turn_ends_after_its_frames(self) -> None:
        parser = Parser(MAX, pace=Pace(per_turn=3), clock=lambda: 0.0)
        data = b"".join(frame(TEXT, str(number)) for number in range(7))

        turns = [texts(parser.feed(data))]
        while parser.more:
            turns.append(texts(parser.feed(b"")))
        assert turns == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        assert parser.between

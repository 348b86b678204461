"""RFC 6455, section 4: the request that opens a WebSocket, and the answers to it."""

import base64

import pytest
from websockets.client import ClientProtocol
from websockets.http11 import Response as LibraryResponse
from websockets.uri import parse_uri
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as Opening

from holdfast.server import handshake
from holdfast.server.handshake import HandshakeRefused
from holdfast.server.response import Headers, Response

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # 1.3

HEADERS = {
    "Host": "harbor.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY.decode(),
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /chat HTTP/1.1", *more: tuple[str, str], **changed: str | None) -> bytes:
    """Build a request. ``changed`` names headers with underscores; ``None`` omits one."""
    replaced = {name.replace("_", "-").lower(): value for name, value in changed.items()}
    headers = [(name, replaced.pop(name.lower(), value)) for name, value in HEADERS.items()]
    lines = [line, *(f"{name}: {value}" for name, value in [*headers, *more] if value is not None)]
    return "\r\n".join([*lines, *(f"{n}: {v}" for n, v in replaced.items()), "", ""]).encode("latin-1")


def refusal(data: bytes) -> HandshakeRefused:
    with pytest.raises(HandshakeRefused) as refused:
        handshake.parse(data)
    return refused.value


class TestRequest:
    """4.1 and 4.2.1."""

    def test_4_2_1_an_ordinary_request_is_parsed(self) -> None:
        read = handshake.parse(request("GET /chat?room=1 HTTP/1.1", ("Origin", "http://harbor.example")))

        assert read.target == b"/chat?room=1"
        assert read.key == KEY
        assert (b"origin", b"http://harbor.example") in read.headers
        assert read.subprotocols == []
        assert read.extensions == ""

    @pytest.mark.parametrize(
        "line",
        [
            "POST /chat HTTP/1.1",
            "GET /chat HTTP/1.0",
            "GET /chat HTTP/2",
            "get /chat HTTP/1.1",
            "GET /chat",
            "GET  /chat HTTP/1.1",
            "GET /a b HTTP/1.1",
            "",
            "GET chat HTTP/1.1",
            "GET * HTTP/1.1",
            "GET gopher://harbor.example/ HTTP/1.1",
            "GET /gr\xfc\xdfe HTTP/1.1",
            "GET /a\x00b HTTP/1.1",
        ],
    )
    def test_4_2_1_1_the_request_is_a_get_of_http_1_1(self, line: str) -> None:
        assert refusal(request(line)).status == 400

    @pytest.mark.parametrize(
        ("target", "path"),
        [
            ("http://harbor.example/chat?x=1", b"/chat?x=1"),
            ("wss://harbor.example:8443/chat", b"/chat"),
            ("http://harbor.example", b"/"),
        ],
    )
    def test_4_2_1_1_the_target_can_be_a_whole_uri(self, target: str, path: bytes) -> None:
        assert handshake.parse(request(f"GET {target} HTTP/1.1")).target == path

    def test_4_2_1_2_the_request_names_the_host_once(self) -> None:
        assert refusal(request(host=None)).status == 400
        assert refusal(request("GET / HTTP/1.1", ("Host", "evil.example"))).status == 400

    @pytest.mark.parametrize("upgrade", [None, "h2c", "websockets", ""])
    def test_4_2_1_3_the_upgrade_header_is_required(self, upgrade: str | None) -> None:
        refused = refusal(request(upgrade=upgrade))

        assert refused.status == 426
        assert refused.headers == [(b"upgrade", b"websocket")]

    @pytest.mark.parametrize("connection", [None, "close", "keep-alive", "upgraded"])
    def test_4_2_1_4_the_connection_header_is_required(self, connection: str | None) -> None:
        assert refusal(request(connection=connection)).status == 426

    @pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "UPGRADE", " upgrade ,x", "x,,upgrade"])
    @pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket"])
    def test_4_2_1_both_headers_are_lists_in_any_case(self, connection: str, upgrade: str) -> None:
        assert handshake.parse(request(connection=connection, upgrade=upgrade)).key == KEY

    @pytest.mark.parametrize(
        "key",
        [
            None,
            "",
            "short",
            "AAAA",
            KEY.decode()[:-1],
            base64.b64encode(b"x" * 17).decode(),
            "*" * 24,
            KEY.decode() + "*",
            "dGhl\xff",
        ],
    )
    def test_4_2_1_5_the_key_is_16_bytes_in_base64(self, key: str | None) -> None:
        assert refusal(request(sec_websocket_key=key)).status == 400

    def test_4_2_1_5_there_is_one_key(self) -> None:
        assert refusal(request("GET / HTTP/1.1", ("Sec-WebSocket-Key", KEY.decode()))).status == 400

    @pytest.mark.parametrize("version", [None, "8", "14", "13, 8", "013"])
    def test_4_4_the_answer_to_an_unknown_version_names_the_known_one(self, version: str | None) -> None:
        refused = refusal(request(sec_websocket_version=version))

        assert refused.status == 426
        assert refused.headers == [(b"sec-websocket-version", b"13")]

    def test_4_2_1_8_subprotocols_are_a_list_in_order(self) -> None:
        read = handshake.parse(
            request("GET / HTTP/1.1", ("Sec-WebSocket-Protocol", "b, a"), ("Sec-WebSocket-Protocol", "c ,"))
        )

        assert read.subprotocols == ["b", "a", "c"]

    def test_4_2_1_9_extensions_can_be_in_several_headers(self) -> None:
        read = handshake.parse(
            request("GET / HTTP/1.1", ("Sec-WebSocket-Extensions", "a; b"), ("Sec-WebSocket-Extensions", "c"))
        )

        assert read.extensions == "a; b,c"

    @pytest.mark.parametrize(
        "header",
        [
            "no colon",
            ": nameless",
            "X : y",
            " X: folded",
            "X\ty: z",
            "X: a\rb",
            "X: a\nb",
            "X: a\0b",
            "X(y): z",
        ],
    )
    def test_rfc_9112_5_malformed_headers_are_refused(self, header: str) -> None:
        data = request()[:-2] + header.encode("latin-1") + b"\r\n\r\n"

        assert refusal(data).status == 400

    def test_headers_keep_their_bytes_without_the_space_around_them(self) -> None:
        read = handshake.parse(
            request("GET / HTTP/1.1", ("X-Name", " \t gr\xfc\xdfe: x \t"), ("X-Empty", ""))
        )

        assert (b"x-name", b"gr\xfc\xdfe: x") in read.headers
        assert (b"x-empty", b"") in read.headers


class TestResponse:
    """4.2.2."""

    def opened(
        self, headers: Headers | None = None, subprotocol: str | None = None, extension: str | None = None
    ) -> bytes:
        return handshake.switching(handshake.parse(request()), headers or [], subprotocol, extension)

    def test_1_3_the_key_is_answered(self) -> None:
        assert handshake.accept(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def test_4_2_2_the_response_is_complete(self) -> None:
        lines = self.opened([(b"x-server", b"1")], "chat", "permessage-deflate").split(b"\r\n")

        assert lines == [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            b"Sec-WebSocket-Protocol: chat",
            b"Sec-WebSocket-Extensions: permessage-deflate",
            b"x-server: 1",
            b"",
            b"",
        ]

    def test_4_1_the_websockets_library_accepts_it(self) -> None:
        client = ClientProtocol(parse_uri("ws://harbor.example/chat"), subprotocols=["chat"])  # type: ignore[list-item]
        client.send_request(client.connect())
        parsed = handshake.parse(b"".join(client.data_to_send()))

        client.receive_data(handshake.switching(parsed, [(b"x-server", b"1")], parsed.subprotocols[0], None))

        (response,) = client.events_received()
        assert isinstance(response, LibraryResponse)
        assert client.handshake_exc is None
        assert client.subprotocol == "chat"

    def test_4_1_wsproto_accepts_it(self) -> None:
        client = WSConnection(ConnectionType.CLIENT)
        data = client.send(Opening(host="harbor.example", target="/chat"))

        client.receive_data(self_answer(data))

        assert any(isinstance(event, AcceptConnection) for event in client.events())

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (b"x", b"a\r\nset-cookie: stolen=1"),
            (b"x", b"a\nb"),
            (b"x", b"a\rb"),
            (b"x", b"a\0b"),
            (b"x: y\r\nz", b"a"),
            (b"x y", b"a"),
            (b"x:", b"a"),
            (b"", b"a"),
        ],
    )
    def test_headers_cannot_break_out_of_their_line(self, name: bytes, value: bytes) -> None:
        with pytest.raises(ValueError):
            self.opened([(name, value)])
        with pytest.raises(ValueError):
            Response(200, [(name, value)])

    def test_a_subprotocol_cannot_break_out_of_its_line(self) -> None:
        with pytest.raises(ValueError):
            self.opened(subprotocol="chat\r\nset-cookie: stolen=1")

    @pytest.mark.parametrize(
        "name", [b"Upgrade", b"connection", b"sec-websocket-accept", b"Sec-WebSocket-Extensions"]
    )
    def test_headers_of_the_handshake_cannot_be_set_by_the_application(self, name: bytes) -> None:
        with pytest.raises(ValueError, match="belongs to the handshake"):
            self.opened([(name, b"x")])


def self_answer(data: bytes) -> bytes:
    return handshake.switching(handshake.parse(data), [], None, None)


class TestRefusal:
    """4.2.2: a server that does not accept answers as HTTP has it (RFC 9112)."""

    def test_the_length_is_that_of_the_body(self) -> None:
        data = Response(403, [(b"content-length", b"5"), (b"date", b"now"), (b"connection", b"x")]).part(
            b"no way"
        )

        assert data == (
            b"HTTP/1.1 403 Forbidden\r\ndate: now\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: 6\r\nconnection: close\r\n\r\nno way"
        )

    def test_parts_without_a_length_are_sent_in_chunks(self) -> None:
        response = Response(
            403, [(b"date", b"now"), (b"Content-Type", b"text/x"), (b"Transfer-Encoding", b"gzip")]
        )
        parts = [response.part(b"no", more=True), response.part(b"", more=True), response.part(b" way")]

        assert parts == [
            (
                b"HTTP/1.1 403 Forbidden\r\ndate: now\r\nContent-Type: text/x\r\ntransfer-encoding: chunked\r\n"
                b"connection: close\r\n\r\n2\r\nno\r\n"
            ),
            b"",
            b"4\r\n way\r\n0\r\n\r\n",
        ]

    def test_parts_with_a_stated_length_are_sent_as_they_are(self) -> None:
        response = Response(403, [(b"date", b"now"), (b"content-length", b"6")])
        data = response.part(b"no", more=True) + response.part(b" way")

        assert b"content-length: 6\r\n" in data
        assert b"chunked" not in data
        assert data.endswith(b"\r\n\r\nno way")

    @pytest.mark.parametrize("status", [204, 304])
    def test_responses_without_a_body_get_none(self, status: int) -> None:
        data = Response(status, [(b"date", b"now")]).part(b"ignored")

        assert data == f"HTTP/1.1 {status} ".encode() + data.split(b" ", 2)[2]
        assert data.endswith(b"connection: close\r\n\r\n")
        assert b"content-length" not in data

    def test_a_response_has_a_date(self) -> None:
        assert b"\r\ndate: " in Response(403, []).part(b"")

    def test_a_status_without_a_phrase_is_accepted(self) -> None:
        assert Response(599, []).part(b"").startswith(b"HTTP/1.1 599 \r\n")

    @pytest.mark.parametrize("status", [0, 101, 199, 600])
    def test_a_status_that_is_not_a_final_answer_is_refused(self, status: int) -> None:
        with pytest.raises(ValueError, match="200 to 599"):
            Response(status, [])

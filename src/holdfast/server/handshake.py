"""The opening handshake of RFC 6455, section 4, without I/O."""

import base64
import binascii
import hashlib
from email.utils import formatdate
from http import HTTPStatus

import msgspec

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = b"13"

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The request is not one that opens a WebSocket; answer it with ``status``."""

    def __init__(self, status: int, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or []


class Request(msgspec.Struct, frozen=True):
    """The request line and headers, names in lower case as ASGI has them."""

    target: bytes
    headers: Headers
    key: bytes
    subprotocols: list[str]
    extensions: str


def parse(head: bytes) -> Request:
    """Read a complete request head (up to and including the empty line). Raises :class:`Refused`."""
    lines = head.split(b"\r\n")
    try:
        method, target, version = lines[0].split(b" ")
    except ValueError:
        raise Refused(400, "malformed request line") from None
    if method != b"GET" or version != b"HTTP/1.1":
        raise Refused(400, "a WebSocket is opened with GET and HTTP/1.1")  # 4.1, 1
    headers: Headers = []
    for line in lines[1:]:
        if not line:
            break
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise Refused(400, "malformed header")
        headers.append((name.lower(), value.strip(b" \t")))
    return _checked(target, headers)


def _checked(target: bytes, headers: Headers) -> Request:
    """Section 4.2.1."""
    if b"websocket" not in _tokens(headers, b"upgrade") or b"upgrade" not in _tokens(headers, b"connection"):
        raise Refused(
            426, "this is a WebSocket endpoint", [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        )
    versions = _values(headers, b"sec-websocket-version")
    if versions != [VERSION]:
        raise Refused(426, "unknown WebSocket version", [(b"sec-websocket-version", VERSION)])  # 4.4
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _valid_key(keys[0]):
        raise Refused(400, "Sec-WebSocket-Key is missing or not valid")
    offered = b",".join(_values(headers, b"sec-websocket-protocol")).decode("latin-1")
    subprotocols = [name.strip() for name in offered.split(",") if name.strip()]
    extensions = b",".join(_values(headers, b"sec-websocket-extensions")).decode("latin-1")
    return Request(target, headers, keys[0], subprotocols, extensions)


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _tokens(headers: Headers, name: bytes) -> set[bytes]:
    """A header that is a list; proxies add to it (``Connection: keep-alive, Upgrade``)."""
    return {token.strip().lower() for value in _values(headers, name) for token in value.split(b",")}


def _valid_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def accept(key: bytes) -> bytes:
    """Section 4.2.2, 5.4."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def switching(request: Request, headers: Headers, subprotocol: str | None, extension: str | None) -> bytes:
    """The response that opens the connection."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept(request.key),
    ]
    if subprotocol is not None:
        lines.append(_line(b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
    if extension is not None:
        lines.append(b"Sec-WebSocket-Extensions: " + extension.encode("latin-1"))
    lines.extend(_line(name, value) for name, value in headers)
    return b"\r\n".join([*lines, b"", b""])


def _line(name: bytes, value: bytes) -> bytes:
    line = name + b": " + value
    if b"\r" in line or b"\n" in line:
        raise ValueError(f"a header may not contain a line break: {line!r}")
    return line


def response(status: int, headers: Headers, body: bytes) -> bytes:
    """A complete response that opens nothing."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    names = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status} {phrase}".encode("latin-1")]
    ours = (b"connection", b"content-length")
    lines.extend(_line(name, value) for name, value in headers if name.lower() not in ours)
    if b"date" not in names:
        lines.append(b"date: " + formatdate(usegmt=True).encode())
    lines += [b"content-length: " + str(len(body)).encode(), b"connection: close", b"", body]
    return b"\r\n".join(lines)

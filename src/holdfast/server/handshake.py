"""The opening handshake of RFC 6455, section 4, without I/O."""

import base64
import binascii
import hashlib
import re

import msgspec

from .response import NAME, NOT_IN_VALUES, Headers, head

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = b"13"

_TARGET = re.compile(rb"[\x21-\x7e]+")
_HANDSHAKE = frozenset((b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions"))


class HandshakeRefused(Exception):
    """The request does not open a WebSocket. It is answered with ``status``."""

    def __init__(self, status: int, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or []


class UpgradeRequest(msgspec.Struct, frozen=True):
    """The upgrade request. ``target`` is the path with the query; header names are in lower case, as in ASGI."""

    target: bytes
    headers: Headers
    key: bytes
    subprotocols: list[str]
    extensions: str


def parse(request: bytes) -> UpgradeRequest:
    """Parse a complete request head, up to and including the empty line. Raises :class:`HandshakeRefused`."""
    lines = request.split(b"\r\n")
    try:
        method, target, version = lines[0].split(b" ")
    except ValueError:
        raise HandshakeRefused(400, "malformed request line") from None
    if method != b"GET" or version != b"HTTP/1.1":
        raise HandshakeRefused(400, "a WebSocket is opened with GET and HTTP/1.1")  # 4.1, 1
    headers: Headers = []
    for line in lines[1:]:
        if not line:
            break
        name, _, value = line.partition(b":")
        if NAME.fullmatch(name) is None or NOT_IN_VALUES.search(value) is not None or len(name) == len(line):
            raise HandshakeRefused(400, "malformed header")
        headers.append((name.lower(), value.strip(b" \t")))
    return _checked(_path(target), headers)


def _path(target: bytes) -> bytes:
    """Return the path of a request target. It may be a whole URI (4.2.1, 1); scheme and host do not matter here."""
    if _TARGET.fullmatch(target) is None:
        raise HandshakeRefused(400, "malformed request target")
    if target.startswith(b"/"):
        return target
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https", b"ws", b"wss"):
        raise HandshakeRefused(400, "malformed request target")
    return b"/" + rest.partition(b"/")[2]


def _checked(target: bytes, headers: Headers) -> UpgradeRequest:
    """Check the headers as section 4.2.1 requires."""
    if len(_values(headers, b"host")) != 1:
        raise HandshakeRefused(400, "Host is missing or ambiguous")  # and RFC 9112, 3.2
    if b"websocket" not in _tokens(headers, b"upgrade") or b"upgrade" not in _tokens(headers, b"connection"):
        raise HandshakeRefused(426, "this is a WebSocket endpoint", [(b"upgrade", b"websocket")])
    versions = _values(headers, b"sec-websocket-version")
    if versions != [VERSION]:
        raise HandshakeRefused(426, "unknown WebSocket version", [(b"sec-websocket-version", VERSION)])  # 4.4
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _valid_key(keys[0]):
        raise HandshakeRefused(400, "Sec-WebSocket-Key is missing or not valid")
    offered = b",".join(_values(headers, b"sec-websocket-protocol")).decode("latin-1")
    subprotocols = [name.strip() for name in offered.split(",") if name.strip()]
    extensions = b",".join(_values(headers, b"sec-websocket-extensions")).decode("latin-1")
    return UpgradeRequest(target, headers, keys[0], subprotocols, extensions)


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _tokens(headers: Headers, name: bytes) -> set[bytes]:
    """Return the values of a list header. Proxies add to it (``Connection: keep-alive, Upgrade``)."""
    return {token.strip().lower() for value in _values(headers, name) for token in value.split(b",")}


def _valid_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def accept(key: bytes) -> bytes:
    """Return the value of ``Sec-WebSocket-Accept`` (section 4.2.2, 5.4)."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def switching(
    request: UpgradeRequest, headers: Headers, subprotocol: str | None, extension: str | None
) -> bytes:
    """Return the response that opens the connection. Raises ``ValueError`` for headers that it must not contain."""
    lines: Headers = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept(request.key)),
    ]
    if subprotocol is not None:
        lines.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
    if extension is not None:
        lines.append((b"Sec-WebSocket-Extensions", extension.encode("latin-1")))
    for name, value in headers:
        if name.lower() in _HANDSHAKE:
            raise ValueError(
                f"the header {name!r} belongs to the handshake itself; leave it out of 'websocket.accept'"
            )
        lines.append((name, value))
    return head(101, lines)

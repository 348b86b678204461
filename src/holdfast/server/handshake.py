"""The opening handshake of RFC 6455, section 4, without I/O."""

import base64
import hashlib
import re
from typing import NamedTuple

import msgspec

from .response import NAME, NOT_IN_VALUES, Headers, field_lines

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = b"13"
_VERSIONS = (VERSION,)

_TARGET = re.compile(rb"[\x21-\x7e]+")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
_READ = frozenset(
    (
        b"host",
        b"upgrade",
        b"connection",
        b"sec-websocket-version",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-extensions",
    )
)
_HANDSHAKE = frozenset((b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions"))


class HandshakeRefused(Exception):
    """The request does not open a WebSocket. It is answered with ``status``."""

    def __init__(self, status: int, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or []


class RequestHead(NamedTuple):
    """The head of a request, parsed. Header names are in lower case, and values without the spaces around them; ``version`` is that
    of HTTP, such as ``"1.1"``."""

    method: bytes
    target: bytes
    version: str
    headers: Headers


class UpgradeRequest(msgspec.Struct, frozen=True):
    """The upgrade request. ``target`` is the path with the query; header names are in lower case, as in ASGI."""

    target: bytes
    headers: Headers
    key: bytes
    subprotocols: list[str]
    extensions: str


def parse(request: bytes | RequestHead) -> UpgradeRequest:
    """Check a request, whose head may be parsed already. Raises :class:`HandshakeRefused`."""
    return _check(_read(request) if isinstance(request, bytes) else request)


def _read(request: bytes) -> RequestHead:
    """Parse a complete head, up to and including the empty line."""
    lines = request.split(b"\r\n")
    try:
        method, target, protocol = lines[0].split(b" ")
    except ValueError:
        raise HandshakeRefused(400, "malformed request line") from None
    if not protocol.startswith(b"HTTP/"):
        raise HandshakeRefused(400, "malformed request line")
    headers: Headers = []
    for line in lines[1:]:
        if not line:
            break
        name, _, value = line.partition(b":")
        if NAME.fullmatch(name) is None or NOT_IN_VALUES.search(value) is not None or len(name) == len(line):
            raise HandshakeRefused(400, "malformed header")
        headers.append((name.lower(), value.strip(b" \t")))
    return RequestHead(method, target, protocol[5:].decode("latin-1"), headers)


def _check(request: RequestHead) -> UpgradeRequest:
    """Check a request as sections 4.1 and 4.2.1 require."""
    if request.method != b"GET" or request.version != "1.1":
        raise HandshakeRefused(400, "a WebSocket is opened with GET and HTTP/1.1")  # 4.1, 1
    target, fields = _path(request.target), _fields(request.headers)
    if len(fields.get(b"host", ())) != 1:
        raise HandshakeRefused(400, "Host is missing or ambiguous")  # and RFC 9112, 3.2
    if not (_names(fields, b"upgrade", b"websocket") and _names(fields, b"connection", b"upgrade")):
        raise HandshakeRefused(426, "this is a WebSocket endpoint", [(b"upgrade", b"websocket")])
    if fields.get(b"sec-websocket-version") != _VERSIONS:
        raise HandshakeRefused(426, "unknown WebSocket version", [(b"sec-websocket-version", VERSION)])  # 4.4
    keys = fields.get(b"sec-websocket-key", ())
    if len(keys) != 1 or not _valid_key(keys[0]):
        raise HandshakeRefused(400, "Sec-WebSocket-Key is missing or not valid")
    offered = _joined(fields, b"sec-websocket-protocol")
    subprotocols = [name.strip() for name in offered.split(",") if name.strip()] if offered else []
    extensions = _joined(fields, b"sec-websocket-extensions")
    return UpgradeRequest(target, request.headers, keys[0], subprotocols, extensions)


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


def _fields(headers: Headers) -> dict[bytes, tuple[bytes, ...]]:
    """Return the values of the headers that the handshake goes by."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in headers:
        if name in _READ:
            found[name] = (*found[name], value) if name in found else (value,)
    return found


def _names(fields: dict[bytes, tuple[bytes, ...]], header: bytes, token: bytes) -> bool:
    """Return whether a list header has this token, in lower case. Proxies add to it (``Connection: keep-alive, Upgrade``)."""
    for value in fields.get(header, ()):
        if value.lower() == token:
            return True
        if b"," in value and token in [one.strip().lower() for one in value.split(b",")]:
            return True
    return False


def _joined(fields: dict[bytes, tuple[bytes, ...]], name: bytes) -> str:
    return b",".join(fields[name]).decode("latin-1") if name in fields else ""


def _valid_key(key: bytes) -> bool:
    """Return whether a key is the base64 of 16 bytes."""
    return _KEY.fullmatch(key) is not None


def accept(key: bytes) -> bytes:
    """Return the value of ``Sec-WebSocket-Accept`` (section 4.2.2, 5.4)."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def switching(
    request: UpgradeRequest, headers: Headers, subprotocol: str | None, extension: str | None
) -> bytes:
    """Return the response that opens the connection. Raises ``ValueError`` for headers that it must not contain."""
    lines: Headers = [(b"Sec-WebSocket-Accept", accept(request.key))]
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
    return _SWITCHING + field_lines(lines) + b"\r\n"

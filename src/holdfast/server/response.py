"""Heads of HTTP responses, and responses that open no WebSocket. No I/O."""

import re
from email.utils import formatdate
from http import HTTPStatus

Headers = list[tuple[bytes, bytes]]

NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1 and 5.6.2: a token
NOT_IN_VALUES = re.compile(rb"[\x00\r\n]")  # RFC 9110, 5.5

_OURS = frozenset((b"connection", b"transfer-encoding"))


def head(status: int, headers: Headers) -> bytes:
    """Encode a response head. Raises ``ValueError`` for headers that would break out of their line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("latin-1") + field_lines(headers) + b"\r\n"


def field_lines(headers: Headers) -> bytes:
    """Encode headers, each with the end of its line. Raises ``ValueError`` for those that would break out of it."""
    lines: list[bytes] = []
    for name, value in headers:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not the name of a header")
        if NOT_IN_VALUES.search(value) is not None:
            raise ValueError(f"the value of header {name!r} contains a line break or NUL: {value!r}")
        lines += (name, b": ", value, b"\r\n")
    return b"".join(lines)


class Response:
    """A response that opens no WebSocket.

    A body that comes in parts is sent in parts: with the length that the application stated, or in chunks.
    """

    def __init__(self, status: int, headers: Headers) -> None:
        if not 200 <= status < 600:
            raise ValueError(
                f"{status} is not the status of a complete response; expected one from 200 to 599"
            )
        self.status = status
        self._headers = headers
        self._names = {name.lower() for name, _ in headers}
        self._chunked = False
        self._empty = status in (204, 304)  # RFC 9110, 6.4.1
        self.begun = False
        self.head(b"", more=False)  # reports invalid headers at once

    def part(self, body: bytes, *, more: bool = False) -> bytes:
        """Return the bytes to write for the next part of the body."""
        start = b"" if self.begun else self.head(body, more)
        self.begun = True
        if self._empty:
            return start
        if not self._chunked:
            return start + body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return start + chunk + (b"" if more else b"0\r\n\r\n")

    def head(self, body: bytes, more: bool) -> bytes:
        headers = [(name, value) for name, value in self._headers if name.lower() not in _OURS]
        if b"date" not in self._names:
            headers.append((b"date", formatdate(usegmt=True).encode()))
        if self._empty or not more:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        if not self._empty:
            if b"content-type" not in self._names:
                headers.append((b"content-type", b"text/plain; charset=utf-8"))
            if not more:
                headers.append((b"content-length", str(len(body)).encode()))
            elif b"content-length" not in self._names:
                self._chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
        headers.append((b"connection", b"close"))
        return head(self.status, headers)

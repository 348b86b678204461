"""The encodings of the wire: JSON text and MessagePack."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from . import codes
from .frames import EventFrame, Inbound, JoinedFrame, JoinedPayload, Outbound, PresenceFrame, ResultFrame
from .nesting import NESTING, too_deep


class BadMessage(Exception):
    """A message that cannot be read. ``ref`` is its reference, if that much could be read."""

    def __init__(self, code: codes.Code, detail: str, ref: int | None = None) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code, self.detail, self.ref = code, detail, ref


def longer(data: str | bytes, limit: int) -> bool:
    """Return whether an encoded message has more than ``limit`` bytes."""
    if len(data) > limit:
        return True
    return isinstance(data, str) and not data.isascii() and len(data.encode("utf-8", "surrogatepass")) > limit


class Codec(Protocol):
    """One encoding, which is one subprotocol."""

    name: str
    binary: bool

    def decode(self, data: str | bytes) -> Inbound:
        """Decode a client's message. Raises :class:`BadMessage`."""

    def encode(self, frame: Outbound) -> str | bytes:
        """Encode a server's message; as ``str`` if the encoding is text."""

    def payload(self, raw: bytes) -> bytes:
        """Convert the payload of a decoded message to JSON, whose values are the only ones that a payload has
        (``docs/decisions/0028-arguments-pass-through-json.md``). Raises :class:`BadMessage` if that is impossible."""


TOO_DEEP = "nested too deeply"

_KNOWN_TYPES = frozenset(cls.__struct_config__.tag for cls in Inbound.__args__)


Gist = Mapping[str, Any]
"""The top level of a message that did not decode, as far as it could be read."""


def _read(decode: Callable[[Any], Inbound], gist: Callable[[Any], Gist], data: str | bytes) -> Inbound:
    try:
        return decode(data)
    except (UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        raise _diagnose(error, gist(data)) from None


def _diagnose(error: Exception, gist: Gist) -> BadMessage:
    """Return what is wrong with a message that did not decode, with the reference that the answer needs."""
    kind, ref = gist.get("type"), gist.get("ref")
    if type(ref) is not int or not 0 <= ref < 2**53:
        ref = None
    if isinstance(error, RecursionError):
        return BadMessage(codes.MALFORMED, TOO_DEEP, ref)
    if not isinstance(error, msgspec.ValidationError):
        return BadMessage(codes.MALFORMED, str(error), ref)
    if isinstance(kind, str) and kind not in _KNOWN_TYPES:
        return BadMessage(codes.UNKNOWN_TYPE, _well_formed(kind[:100]), ref)
    return BadMessage(codes.INVALID_MESSAGE, str(error), ref)


def _well_formed(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _json_gist(data: str | bytes) -> Gist:
    """Read the top level even where msgspec does not: lone surrogates, control characters, numbers that JSON does not have."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Top(msgspec.Struct):
    """The two fields of a MessagePack message that an answer needs. Other fields are skipped, not decoded."""

    type: msgspec.Raw = msgspec.Raw()
    ref: msgspec.Raw = msgspec.Raw()


_top = msgspec.msgpack.Decoder(_Top).decode


def _msgpack_gist(data: bytes) -> Gist:
    found: dict[str, Any] = {}
    try:
        top = _top(data)
        for name, raw in (("ref", top.ref), ("type", top.type)):
            if len(memoryview(raw)):
                found[name] = msgspec.msgpack.decode(raw)
    except (UnicodeError, RecursionError, msgspec.MsgspecError):
        pass  # keep what was read before the error
    return found


def _shallow(payload: bytes) -> bytes:
    if too_deep(payload):
        raise BadMessage(codes.INVALID_PAYLOAD, f"{TOO_DEEP}: at most {NESTING} levels")
    return payload


class JsonCodec:
    """``holdfast.v1.json``."""

    name = codes.SUBPROTOCOLS[0]
    binary = False

    _decode = msgspec.json.Decoder(Inbound).decode
    _encode = msgspec.json.Encoder().encode

    def decode(self, data: str | bytes) -> Inbound:
        return _read(self._decode, _json_gist, data)

    def encode(self, frame: Outbound) -> str | bytes:
        return self._encode(frame).decode()

    def payload(self, raw: bytes) -> bytes:
        return _shallow(raw)


class MsgpackCodec:
    """``holdfast.v1.msgpack``."""

    name = codes.SUBPROTOCOLS[1]
    binary = True

    _decode = msgspec.msgpack.Decoder(Inbound).decode
    _encode = msgspec.msgpack.Encoder().encode

    def decode(self, data: str | bytes) -> Inbound:
        if isinstance(data, str):
            error = msgspec.DecodeError("a text message on a MessagePack connection")
            raise _diagnose(error, _json_gist(data))
        return _read(self._decode, _msgpack_gist, data)

    def encode(self, frame: Outbound) -> str | bytes:
        """Convert payloads, which the server keeps as JSON, and encode the frame."""
        if isinstance(frame, EventFrame | ResultFrame | PresenceFrame):
            frame = msgspec.structs.replace(frame, payload=self._raw(frame.payload))
        elif isinstance(frame, JoinedFrame):
            frame = msgspec.structs.replace(frame, payload=self._joined(frame.payload))
        return self._encode(frame)

    def _joined(self, payload: JoinedPayload) -> JoinedPayload:
        texts = {"snapshot": payload.snapshot, "members": payload.members}
        packed = {name: self._raw(text) for name, text in texts.items() if text is not msgspec.UNSET}
        return msgspec.structs.replace(payload, **packed) if packed else payload

    def payload(self, raw: bytes) -> bytes:
        try:
            return _shallow(msgspec.json.encode(msgspec.msgpack.decode(raw))) if raw else raw
        except RecursionError:
            raise BadMessage(codes.INVALID_PAYLOAD, TOO_DEEP) from None
        except (
            TypeError,
            ValueError,
            msgspec.MsgspecError,
        ) as error:  # an extension type, or a key that is not text
            raise BadMessage(codes.INVALID_PAYLOAD, str(error)) from None

    def _raw(self, raw: msgspec.Raw) -> msgspec.Raw:
        return msgspec.Raw(self._encode(msgspec.json.decode(raw)))


JSON = JsonCodec()
MSGPACK = MsgpackCodec()
_BY_NAME: dict[str, Codec] = {JSON.name: JSON, MSGPACK.name: MSGPACK}


def choose(offered: list[str]) -> Codec | None:
    """Return the codec for the subprotocols that a client offers, in its order of preference.

    That is JSON if it offers none, and ``None`` if all offered are unknown.
    """
    if not offered:
        return JSON
    return next((_BY_NAME[name] for name in offered if name in _BY_NAME), None)


def size_of(data: str | bytes) -> int:
    """Return the size of a message in bytes."""
    if isinstance(data, bytes) or data.isascii():
        return len(data)
    return len(data.encode("utf-8", "surrogatepass"))

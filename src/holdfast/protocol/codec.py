"""The encodings of the wire: the same messages as JSON text or as MessagePack."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from . import codes
from .frames import Event, Inbound, Joined, JoinedPayload, Outbound, Presence, Result


class BadMessage(Exception):
    """A message that is none. ``ref`` is its reference, if that much could be read."""

    def __init__(self, code: codes.Code, detail: str, ref: int | None = None) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code, self.detail, self.ref = code, detail, ref


class Codec(Protocol):
    """One subprotocol."""

    name: str
    binary: bool

    def decode(self, data: str | bytes) -> Inbound:
        """Read a client's message. Raises :class:`BadMessage`."""

    def encode(self, frame: Outbound) -> str | bytes:
        """Write a server's message: ``str`` if the encoding is text."""

    def payload(self, raw: bytes) -> bytes:
        """The payload of a message that was read, as JSON. Raises :class:`BadMessage` when it has none."""


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
    """Say what is wrong with a message that did not decode, and whom the answer is for."""
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
    """Read what msgspec does not: lone surrogates, control characters, numbers that JSON does not have."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Top(msgspec.Struct):
    """The two fields of a MessagePack message that an answer needs. What else is in it is passed over, not read."""

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
        pass  # what was found before that counts
    return found


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
        return raw


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
        """Payloads are kept as JSON inside the server; here they change their clothes."""
        if isinstance(frame, Event | Result | Presence):
            frame = msgspec.structs.replace(frame, payload=self._raw(frame.payload))
        elif isinstance(frame, Joined):
            frame = msgspec.structs.replace(frame, payload=self._joined(frame.payload))
        return self._encode(frame)

    def _joined(self, payload: JoinedPayload) -> JoinedPayload:
        texts = {"snapshot": payload.snapshot, "members": payload.members}
        packed = {name: self._raw(text) for name, text in texts.items() if text is not msgspec.UNSET}
        return msgspec.structs.replace(payload, **packed) if packed else payload

    def payload(self, raw: bytes) -> bytes:
        try:
            return msgspec.json.encode(msgspec.msgpack.decode(raw)) if raw else raw
        except RecursionError:
            raise BadMessage(codes.INVALID_PAYLOAD, TOO_DEEP) from None
        except (
            TypeError,
            ValueError,
            msgspec.MsgspecError,
        ) as error:  # an extension type, a key that is no text
            raise BadMessage(codes.INVALID_PAYLOAD, str(error)) from None

    def _raw(self, raw: msgspec.Raw) -> msgspec.Raw:
        return msgspec.Raw(self._encode(msgspec.json.decode(raw)))


JSON = JsonCodec()
MSGPACK = MsgpackCodec()
_BY_NAME: dict[str, Codec] = {JSON.name: JSON, MSGPACK.name: MSGPACK}


def choose(offered: list[str]) -> Codec | None:
    """The codec for the subprotocols that a client offers, in its order; JSON if it offers none, ``None`` if no
    version that it speaks is known."""
    if not offered:
        return JSON
    return next((_BY_NAME[name] for name in offered if name in _BY_NAME), None)

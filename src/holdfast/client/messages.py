"""Messages of the server, decoded."""

from collections.abc import Callable

import msgspec

from holdfast.protocol import frames

_decode: Callable[[str | bytes], frames.Outbound] = msgspec.json.Decoder(frames.Outbound).decode


class _Kind(msgspec.Struct, frozen=True):
    """As much of a message as every version of the protocol has."""

    type: str


_decode_kind = msgspec.json.Decoder(_Kind).decode
_KNOWN = frozenset(str(frame.__struct_config__.tag) for frame in frames.Outbound.__args__)


def decode(data: str | bytes) -> frames.Outbound | None:
    """Return the message, or ``None`` for a type that a newer server may send. Raises ``msgspec.MsgspecError`` for a message that
    cannot be read."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        if _decode_kind(data).type in _KNOWN:
            raise
        return None

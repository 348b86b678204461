"""One event on its way to very many subscribers: encoded once per format, whoever receives it."""

from typing import Any

import msgspec

from holdfast.protocol.frames import Event

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class Prepared:
    """An event and the forms it was already needed in. Every form is made on first need and then shared.

    ``offset`` is ``None`` for an event that is in no log; ``exclude`` is the client that must not receive it, or ``""``.
    The two ASGI messages are shared between connections, so nobody may change them.
    """

    __slots__ = ("_asgi_binary", "_asgi_text", "exclude", "name", "offset", "payload", "topic")

    def __init__(
        self, topic: str, name: str, payload: bytes, offset: int | None = None, exclude: str = ""
    ) -> None:
        self.topic = topic
        self.name = name
        self.payload = payload
        self.offset = offset
        self.exclude = exclude
        self._asgi_text: dict[str, Any] | None = None
        self._asgi_binary: dict[str, Any] | None = None

    @property
    def asgi_text(self) -> dict[str, Any]:
        """``websocket.send`` with the event in JSON."""
        message = self._asgi_text
        if message is None:
            text = _json.encode(self._frame(self.payload)).decode()
            message = self._asgi_text = {"type": "websocket.send", "text": text}
        return message

    @property
    def asgi_binary(self) -> dict[str, Any]:
        """``websocket.send`` with the event in MessagePack."""
        message = self._asgi_binary
        if message is None:
            payload = _msgpack.encode(msgspec.json.decode(self.payload))
            message = self._asgi_binary = {
                "type": "websocket.send",
                "bytes": _msgpack.encode(self._frame(payload)),
            }
        return message

    def _frame(self, payload: bytes) -> Event:
        return Event(topic=self.topic, name=self.name, offset=self.offset, payload=msgspec.Raw(payload))

    def __repr__(self) -> str:
        return f"<Prepared {self.topic} {self.name} at {self.offset}>"

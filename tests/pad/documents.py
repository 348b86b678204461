"""A shared document for tests, and editors that make updates as Yjs' clients do."""

import base64
from typing import Any

import pycrdt

from holdfast.pad import SharedDocument


class Pad(SharedDocument):
    route = "pads/<slug:pad>"
    document_bytes = 20_000
    compact_after = 10

    def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)

    def may_write(self, user: Any) -> bool:
        return user.username != "reader"


class Editor:
    """A document on its own, whose changes are kept as updates."""

    def __init__(self, client: int | None = None) -> None:
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
        self.text = self.doc.get("text", type=pycrdt.Text)
        self.updates: list[bytes] = []
        self._watching = self.doc.observe(lambda event: self.updates.append(event.update))

    def type(self, text: str, at: int | None = None) -> bytes:
        self.text.insert(len(str(self.text)) if at is None else at, text)
        return self.updates[-1]

    def delete(self, start: int, end: int) -> bytes:
        del self.text[start:end]
        return self.updates[-1]

    def take(self, update: str | bytes) -> str:
        self.doc.apply_update(base64.b64decode(update) if isinstance(update, str) else update)
        return str(self.text)


def encoded(update: bytes) -> str:
    return base64.b64encode(update).decode()

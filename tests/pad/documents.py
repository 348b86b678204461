"""A shared document for tests, and editors that make updates as Yjs' clients do."""

import base64
from typing import Any

import pycrdt

from holdfast.pad import SharedDocument
from holdfast.pad.updates import write_vector


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


# ── updates byte by byte, as no editor makes them ────────────────────────────────────────────────────────────────────────────


def number(*values: int) -> bytes:
    return b"".join(write_vector({value: 0})[1:-1] for value in values)


def text(value: str) -> bytes:
    data = value.encode()
    return number(len(data)) + data


def text_item(content: str) -> bytes:
    """A text in the root `text`."""
    return b"\x04\x01" + text("text") + text(content)


def child_of(client: int, clock: int, content: str) -> bytes:
    """A text whose parent is the item in this place."""
    return b"\x04\x00" + number(client, clock) + text(content)


def beside(client: int, clock: int, content: str) -> bytes:
    """A text to the right of the item in this place."""
    return b"\x84" + number(client, clock) + text(content)


def block_of(client: int, clock: int, *items: bytes) -> bytes:
    return number(len(items), client, clock) + b"".join(items)


def updates(*blocks: bytes) -> bytes:
    """An update with these blocks that deletes nothing."""
    return number(len(blocks)) + b"".join(blocks) + b"\x00"


def block(client: int, clock: int, *items: bytes) -> bytes:
    """An update with one block."""
    return updates(block_of(client, clock, *items))

"""The content of a shared document at one position of its topic, for the page that shows it."""

from typing import Any

import msgspec
import pycrdt

from holdfast.protocol.positions import Position


class PageDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a page shows it. ``{% live_document %}`` puts it into the page, and the browser goes on from there."""

    topic: str
    """The name of the document's topic."""
    position: Position
    """Where the topic's log was. The document has every update up to here."""
    state: bytes
    """The document as an update of Yjs (version 1)."""

    def text(self, name: str = "text") -> str:
        """Return one of the document's texts."""
        return text_in(self.state, name)


def text_in(state: bytes, name: str) -> str:
    """Return the text of this name in a document that is given as an update of Yjs."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(state)
    return str(doc.get(name, type=pycrdt.Text))

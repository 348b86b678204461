"""Storage of shared documents: takes updates in, compacts them, and gives them out.

A document is a compacted state and the updates since. Every ``compact_after`` updates the transaction that stores the last of
them replaces both by a new state, in which deleted content takes no space.

The stored updates are complete: :class:`~.updates.Contents` refuses one that refers to missing content. So the state never
depends on something that may never come.
"""

import os
import secrets
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec
import pycrdt
from django.db import models, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Length
from django.utils import timezone

from holdfast import conf

from .models import Document, Part, Update
from .reader import Malformed
from .updates import Contents, Vector, read_vector, write_vector

PART_LIFE = timedelta(hours=1)
"""The age at which parts of an unfinished upload are deleted."""

PART_BYTES = 100
"""What a part counts beside its text, so that empty ones are bounded as well."""


class Full(Exception):
    """The document would be larger than it may be."""


class DocumentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one document: its bytes, and the updates after which it is compacted."""

    document_bytes: int
    compact_after: int


def store(topic: str, update: bytes, limits: DocumentLimits) -> bool:
    """Store an update. Return whether it has anything that the document did not have.

    Raises :class:`~.reader.Malformed`, :class:`~.updates.Behind` and :class:`Full`. Run it in the transaction that publishes
    the update.
    """
    change = read(update)
    with transaction.atomic(using=alias(), savepoint=False):
        document = locked(topic)
        before = read_vector(bytes(document.vector))
        after = change.after(before)
        if after == before and not change.deletes:
            return False
        if change.depends(before):
            _check_fit(document, update, change, after)
        document.vector = write_vector(after)
        document.size += len(update)
        document.pending += 1
        if document.size > limits.document_bytes:
            _squeeze(document, update, limits.document_bytes)
        else:
            document.updates.create(data=update)
            if document.pending >= limits.compact_after:
                _compact(document, _parts(document))
        document.changed_at = timezone.now()
        document.save()
    return True


def read(update: bytes) -> Contents:
    """Read an update twice: as Yjs will, and as pycrdt will."""
    change = Contents.read(update)
    try:
        pycrdt.get_state(update)
    except ValueError as error:
        raise Malformed(str(error)) from None
    return change


def locked(topic: str) -> Document:
    """Return the document of a topic, made if need be, and locked until the transaction ends.

    Its state, which is most of it, is read when it is used, and saved if it was.
    """
    # A write comes first, because SQLite has no other lock: a transaction that begins by reading may not be allowed to write.
    rows = Document.objects.using(alias()).filter(topic=topic)
    if not rows.update(changed_at=timezone.now()):
        Document.objects.using(alias()).get_or_create(topic=topic, defaults={"changed_at": timezone.now()})
        rows.update(changed_at=timezone.now())
    return rows.defer("state").get()


def state(topic: str, vector: bytes = b"") -> bytes:
    """Return the document as an update: all of it, or what a client with this state vector lacks."""
    # The updates first: a compaction between the two queries then moves into the state what has been read already.
    updates = list(
        Update.objects.using(alias())
        .filter(document__topic=topic)
        .order_by("id")
        .values_list("data", flat=True)
    )
    compacted = (
        Document.objects.using(alias()).filter(topic=topic).values_list("state", flat=True).first() or b""
    )
    if compacted and not updates and not vector:
        return bytes(compacted)
    parts = [bytes(compacted), *map(bytes, updates)]
    doc = _join(parts)
    whole = _whole(doc, parts)
    return pycrdt.get_update(whole, vector) if vector else whole


def load(document: Document) -> "pycrdt.Doc[Any]":
    """Return a locked document as pycrdt has it."""
    return _join(_parts(document))


def _parts(document: Document) -> list[bytes]:
    return [bytes(document.state), *map(bytes, _updates(document).values_list("data", flat=True))]


def _join(parts: list[bytes]) -> "pycrdt.Doc[Any]":
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=_client(os.getpid()))
    for update in filter(None, parts):
        doc.apply_update(update)
    return doc


def _whole(doc: "pycrdt.Doc[Any]", parts: list[bytes]) -> bytes:
    """Return the document as one update.

    pycrdt 0.14 writes wrong clocks behind a surrogate pair that an edit has cut in two, and cannot read them again. The parts are
    then joined as they are. Deleted content keeps its space in them.
    """
    whole = doc.get_update()
    again: pycrdt.Doc[Any] = pycrdt.Doc()
    try:
        again.apply_update(whole)
    except (RuntimeError, ValueError):
        return pycrdt.merge_updates(*filter(None, parts))
    if read_vector(again.get_state()) != read_vector(doc.get_state()):
        return pycrdt.merge_updates(*filter(None, parts))
    return whole


def _check_fit(document: Document, update: bytes, change: Contents, after: Vector) -> None:
    """Apply an update to the document for trial. One that is stored and cannot be applied would end the document for all.

    Raises :class:`~.reader.Malformed`.
    """
    doc = load(document)
    try:
        doc.apply_update(update)
    except (RuntimeError, ValueError) as error:
        raise Malformed(str(error)) from None
    found = read_vector(doc.get_state())
    if any(found.get(block.client, 0) < after[block.client] for block in change.blocks):
        raise Malformed("its items refer to each other in a circle")


def _squeeze(document: Document, update: bytes, limit: int) -> None:
    """Store an update that the document has no room for: what others have deleted, or what it deletes itself, makes some."""
    parts = _parts(document)
    before = len(_whole(_join(parts), parts))
    _compact(document, [*parts, update])
    if document.size > limit and document.size > before:
        raise Full


def _compact(document: Document, parts: list[bytes]) -> None:
    doc = _join(parts)
    document.state = _whole(doc, parts)
    document.vector = doc.get_state()
    document.size, document.pending = len(document.state), 0
    _updates(document).delete()


def _updates(document: Document) -> "models.QuerySet[Update]":
    return document.updates.order_by("id")


@cache
def _client(process: int) -> int:
    """The editing client that this process is, when it changes documents itself. Its clocks are consecutive in each document,
    because the document is locked."""
    return secrets.randbits(32)


def alias() -> str:
    """The database of the documents: the one of the log, so that a document and its events are one transaction.

    Routers of the project are not asked, as they are not for the log.
    """
    return conf.settings().database


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def store_part(
    topic: str, upload: str, number: int, data: str, limits: DocumentLimits, *, replaces: str | None = None
) -> None:
    """Keep a piece of an update, and forget the pieces of the unfinished upload that it ``replaces``.

    Raises :class:`Full` if the pieces of all unfinished updates would be larger than a document.
    """
    with transaction.atomic(using=alias(), savepoint=False):
        document = locked(topic)
        document.parts.filter(Q(sent_at__lt=timezone.now() - PART_LIFE) | Q(upload=replaces)).delete()
        others = document.parts.exclude(upload=upload, number=number)
        kept = others.aggregate(bytes=Sum(Length("data")), count=Count("id"))
        size = (kept["bytes"] or 0) + len(data) + PART_BYTES * kept["count"]
        if size > 2 * limits.document_bytes:
            raise Full
        document.parts.update_or_create(
            upload=upload, number=number, defaults={"data": data, "sent_at": timezone.now()}
        )


def take_parts(topic: str, upload: str) -> str:
    """Return the pieces of an update in their order, and forget them."""
    with transaction.atomic(using=alias(), savepoint=False):
        parts = Part.objects.using(alias()).filter(document__topic=topic, upload=upload).order_by("number")
        data = "".join(parts.values_list("data", flat=True))
        parts.delete()
    return data

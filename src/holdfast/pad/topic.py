"""``SharedDocument``: a topic whose clients edit one document of Yjs together."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import msgspec
import pycrdt
from django.db import transaction
from msgspec import Meta

from holdfast.topics.action import action
from holdfast.topics.caller import Caller
from holdfast.topics.event import Event
from holdfast.topics.keep import Keep
from holdfast.topics.presence import Presence
from holdfast.topics.refuse import Refuse
from holdfast.topics.topic import Topic

from . import storage
from .document import PageDocument, text_in
from .reader import Malformed
from .updates import Behind, read_vector

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
Number = Annotated[int, Meta(ge=0, lt=10_000)]


class DocumentUpdated(Event):
    """An editor changed the document: an update of Yjs (version 1), as base64."""

    data: str


class EditorMoved(Event, durable=False):
    """An editor's cursor, selection or other state; ``null`` when it is gone. Never stored.

    ``client`` is Yjs' id of the editor, ``by`` the public id of the client that sent it, ``member`` the presence id of its user
    (``null`` for an anonymous one), ``user`` what :meth:`SharedDocument.editor` returned. With ``ask`` the others send theirs.
    """

    client: int
    by: str
    member: str | None
    user: dict[str, Any]
    state: dict[str, Any] | None = None
    ask: bool = False


class SharedDocument(Topic):
    """Subclass it in an app's ``live.py``, with a route and a rule::

        class Pad(SharedDocument):
            route = "pads/<slug:pad>"

            def may_join(self, user): ...   # may read
            def may_write(self, user): ...  # may change it; without this method, all who may join

    The database has the document (the tables of the app ``holdfast.pad``), in the transaction that publishes each update.
    ``document_bytes`` bounds it. All editors of a document see what the others do through events, which the topic keeps long
    enough for a client to catch up on; a client that was away for longer merges with the whole document.

    A subclass that has events of its own lists these as well: ``events = [*SharedDocument.events, Renamed]``.
    """

    events = [DocumentUpdated, EditorMoved]
    keep = Keep(hours=24, count=5000)
    presence = Presence()

    document_bytes: ClassVar[int] = 500_000
    """The largest document. Its base64 has to fit into ``EVENT_BYTES``."""
    compact_after: ClassVar[int] = 100
    """Updates after which the stored document is compacted."""
    awareness_bytes: ClassVar[int] = 2_000
    """The largest state of one editor, in bytes of JSON."""

    def may_write(self, user: Any) -> bool:
        """Return whether a user who may join may change the document. It is asked at each update."""
        return True

    def editor(self, user: Any) -> dict[str, Any]:
        """Return what the others see of an editor beside the cursor: small, plain enough for JSON, without a query."""
        return {"name": user.get_username()}

    def snapshot(self) -> dict[str, Any]:
        """Return the document, for clients that do not resume from a known position."""
        return {"state": _encode(storage.state(self.name))}

    # ── from Python ──────────────────────────────────────────────────────────────────────────────────────────────────

    def text(self, name: str = "text") -> str:
        """Return one of the document's texts."""
        return text_in(storage.state(self.name), name)

    def document(self) -> PageDocument:
        """Return the document for a page that shows it, with the position that agrees with it exactly.

        ``{% live_document %}`` puts it into the page. Then the page's editor can be written in as soon as its script runs, and
        need not wait for the connection. ``document().text()`` is a text of the same moment.
        """
        position, state = self.consistent_read(lambda: storage.state(self.name))
        return PageDocument(topic=self.name, position=position, state=state)

    @contextmanager
    def edit(self) -> "Iterator[pycrdt.Doc[Any]]":
        """Change the document from Python::

            with Pad(pad="plans").edit() as doc:
                doc.get("text", type=pycrdt.Text).insert(0, "Hello. ")

        The document is locked, so keep it short. The change is stored and published when the block ends, in the
        caller's transaction if there is one. An exception undoes it. Raises :class:`~holdfast.pad.storage.Full`.
        """
        with transaction.atomic(using=storage.alias()):
            doc: pycrdt.Doc[Any] = storage.load(storage.locked(self.name))
            updates: list[bytes] = []
            doc.observe(lambda event: updates.append(event.update))
            yield doc
            if updates:
                self._accept(pycrdt.merge_updates(*updates))

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    # Each of them may run twice (once=False): what is in the document already changes nothing. That saves each update the
    # statements that keep its answer.

    @action(once=False, rate="30/s")
    def update(self, caller: Caller, data: str, upload: Name | None = None) -> None:
        """Change the document. ``data`` is an update of Yjs as base64, or the last part of the ``upload``.

        Refused as ``read_only``, ``malformed``, ``document_full``, or ``behind``: the update refers to content that the server
        does not have; send it together with that.
        """
        self._need_writer(caller)
        if upload is not None:
            data = storage.take_parts(self.name, _upload(caller, upload)) + data
        try:
            self._accept(_decode(data))
        except Malformed as error:
            raise Refuse("malformed", f"The update cannot be read: {error}.") from None
        except Behind:
            raise Refuse("behind", "The update refers to content that the server does not have.") from None
        except storage.Full:
            raise Refuse("document_full", "The document has reached its largest size.") from None

    @action(once=False, rate="30/s")
    def part(
        self, caller: Caller, upload: Name, number: Number, data: str, replaces: Name | None = None
    ) -> None:
        """Send a part of an update that is longer than a message may be. ``update`` sends the last part.

        ``replaces`` names an upload that the client began and does not finish. Its parts are forgotten.
        """
        self._need_writer(caller)
        name, earlier = _upload(caller, upload), _upload(caller, replaces) if replaces else None
        try:
            storage.store_part(self.name, name, number, data, self._limits, replaces=earlier)
        except storage.Full:
            raise Refuse("document_full", "The update is larger than a document may be.") from None

    @action(once=False, rate="5/s")
    def state(self, caller: Caller, vector: str = "") -> str:
        """Return the document, or what a client with this state vector (base64) lacks."""
        try:
            read_vector(known := _decode(vector))
        except Malformed as error:
            raise Refuse("malformed", f"The state vector cannot be read: {error}.") from None
        return _encode(storage.state(self.name, known))

    @action(once=False, rate="20/s")
    async def aware(
        self, caller: Caller, client: int, state: dict[str, Any] | None = None, ask: bool = False
    ) -> None:
        """Show the others an editor's cursor and selection; without a state, that it is gone."""
        if len(msgspec.json.encode(state)) > self.awareness_bytes:
            raise Refuse("awareness_too_large", f"The state may have {self.awareness_bytes} bytes.")
        user = caller.user
        await self.apublish(
            EditorMoved(
                client=client,
                by=caller.client,
                member=str(user.pk) if user.is_authenticated else None,
                user=self.editor(user),
                state=state,
                ask=ask,
            )
        )

    @property
    def _limits(self) -> storage.DocumentLimits:
        return storage.DocumentLimits(document_bytes=self.document_bytes, compact_after=self.compact_after)

    def _accept(self, update: bytes) -> None:
        if storage.store(self.name, update, self._limits):
            self.publish(DocumentUpdated(data=_encode(update)))

    def _need_writer(self, caller: Caller) -> None:
        if self.may_write(caller.user) is not True:
            raise Refuse("read_only", "You may read this document, and not change it.")


def _upload(caller: Caller, name: str) -> str:
    return f"{caller.client} {name}"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("it is not base64") from None

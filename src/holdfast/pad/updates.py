"""``Contents``: an update of Yjs, read before it is stored or passed on.

A shared document is what all of its updates say, on every client. One update that a client cannot read, or that refers to
content which is missing, would therefore spoil the document for all of them. The server checks both here, in the order of
the bytes and without building anything, so that no length in an update can make it reserve memory.

The format is version 1 of Yjs' updates: https://github.com/yjs/yjs/blob/v13.6.27/src/utils/encoding.js and the ``write`` methods of
``structs/``. Structs come in blocks, one for each editing client (a number that Yjs calls ``clientID``), with consecutive clocks.
"""

from collections.abc import Mapping

import msgspec

from .reader import Malformed, UpdateReader

Vector = dict[int, int]
"""A state vector: how many clock ticks of each editing client are known."""

Place = tuple[int, int]
"""An editing client, and one of its clock ticks."""

LAST_TICK = 2**32 - 1
"""pycrdt counts the ticks of a client in 32 bits, and begins again at zero. Yjs counts on."""

_GC, _SKIP = 0, 10
_HAS_LEFT, _HAS_RIGHT, _HAS_KEY = 0x80, 0x40, 0x20
_CONTENT, _TYPE = 0x1F, 7
_TYPES, _NAMED_TYPES = range(7), (3, 5)


class Behind(Exception):
    """The update refers to content that the document does not have (yet)."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive structs of one client: the clocks from ``start`` up to but not including ``end``."""

    client: int
    start: int
    end: int


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of an update.

    ``needs`` is, for each client, how many ticks the update refers to: as neighbours, parents, or as what it deletes. ``types`` are the
    shared types that the update has itself, and ``parents`` the places that it names as the parents of items.
    """

    blocks: tuple[Block, ...]
    needs: Mapping[int, int]
    types: frozenset[Place]
    parents: frozenset[Place]
    deletes: bool

    @classmethod
    def read(cls, update: bytes) -> "Contents":
        """Read an update. Raises :class:`Malformed` for one that some client could not read."""
        reader, found = UpdateReader(update), _Found()
        blocks = tuple(block for _ in range(reader.number()) for block in _block(reader, found))
        deletes = _deletions(reader, found)
        reader.end()
        return cls(
            blocks=blocks,
            needs=found.needs,
            types=frozenset(found.types),
            parents=frozenset(found.parents),
            deletes=deletes,
        )

    def after(self, vector: Vector) -> Vector:
        """Return the state vector of a document with this one and with the update.

        Raises :class:`Behind` when something between the two is missing.
        """
        known = dict(vector)
        for block in self.blocks:
            before = known.get(block.client, 0)
            if block.start > before:
                raise Behind
            known[block.client] = max(before, block.end)
        if any(known.get(client, 0) < ticks for client, ticks in self.needs.items()):
            raise Behind
        return known

    def depends(self, vector: Vector) -> bool:
        """Return whether only the document itself, which has this state vector, can tell if the update fits.

        That is so for a parent which the update does not bring, because it may be no shared type, and for items of several clients
        which refer to each other, because they may do so in a circle.
        """
        if any(place not in self.types or place[1] < vector.get(place[0], 0) for place in self.parents):
            return True
        several = len({block.client for block in self.blocks}) > 1
        return several and any(vector.get(client, 0) < ticks for client, ticks in self.needs.items())


class _Found:
    """What has been read of an update so far."""

    __slots__ = ("clients", "needs", "parents", "types")

    def __init__(self) -> None:
        self.clients: set[int] = set()
        self.needs: dict[int, int] = {}
        self.types: set[Place] = set()
        self.parents: set[Place] = set()

    def need(self, client: int, ticks: int) -> None:
        if ticks > self.needs.get(client, 0):
            self.needs[client] = ticks


def _block(reader: UpdateReader, found: _Found) -> list[Block]:
    count, client, clock = reader.number(), reader.number(), reader.number()
    if client in found.clients:  # pycrdt takes both blocks, and Yjs the last one only
        raise Malformed("a client has two blocks")
    found.clients.add(client)
    blocks, start = [], clock
    for _ in range(count):
        info = reader.byte()
        if info == _SKIP:
            if clock > start:
                blocks.append(Block(client=client, start=start, end=clock))
            clock += reader.number()
            start = clock
        elif info == _GC:
            clock += _length(reader)
        else:
            clock += _item(reader, info, (client, clock), found)
        if clock > LAST_TICK:
            raise Malformed("a clock is too large")
    if clock > start:
        blocks.append(Block(client=client, start=start, end=clock))
    return blocks


def _item(reader: UpdateReader, info: int, place: Place, found: _Found) -> int:
    """Read one item. Return its length in clock ticks."""
    if info & _HAS_LEFT:
        _reference(reader, place, found)
    if info & _HAS_RIGHT:
        _reference(reader, place, found)
    if not info & (_HAS_LEFT | _HAS_RIGHT):
        if reader.number() == 1:
            reader.text()
        else:
            found.parents.add(_reference(reader, place, found))
        if info & _HAS_KEY:
            reader.text()
    if info & _CONTENT == _TYPE:
        found.types.add(place)
    return _content(reader, info & _CONTENT)


def _reference(reader: UpdateReader, place: Place, found: _Found) -> Place:
    client, at = reader.number(), reader.number()
    if client == place[0] and at >= place[1]:
        raise Malformed("an item refers to itself or to what comes after it")
    found.need(client, at + 1)
    return client, at


def _content(reader: UpdateReader, kind: int) -> int:
    """Read the content of an item. Return its length in clock ticks."""
    length = 1
    if kind == 1:  # deleted
        length = _length(reader)
    elif kind == 2:  # JSON, of old versions of Yjs; a text may also be the word undefined
        raise Malformed("items of Yjs before version 13 are not supported")
    elif kind == 3:
        reader.bytes()
    elif kind == 4:
        length = len(reader.text().encode("utf-16-le")) // 2
        if not length:
            raise Malformed("a text is empty")
    elif kind == 5:  # embedded
        reader.json()
    elif kind == 6:  # formatting
        reader.text()
        reader.json()
    elif kind == _TYPE:
        _type(reader)
    elif kind == 8:
        length = _length(reader)
        for _ in range(length):
            reader.any()
    elif kind == 9:
        raise Malformed("documents within documents are not supported")
    else:
        raise Malformed(f"an item has the unknown content {kind}")
    return length


def _type(reader: UpdateReader) -> None:
    kind = reader.number()
    if kind not in _TYPES:
        raise Malformed(f"an item has the unknown type {kind}")
    if kind in _NAMED_TYPES:
        reader.text()


def _length(reader: UpdateReader) -> int:
    length = reader.number()
    if not length:
        raise Malformed("an item has no length")
    return length


def _deletions(reader: UpdateReader, found: _Found) -> bool:
    deletes = False
    for _ in range(reader.number()):
        client = reader.number()
        for _ in range(reader.number()):
            found.need(client, reader.number() + _length(reader))
            deletes = True
    return deletes


# ── state vectors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_vector(data: bytes) -> Vector:
    """Read a state vector. Raises :class:`Malformed`."""
    if not data:
        return {}
    reader = UpdateReader(data)
    vector = {reader.number(): reader.number() for _ in range(reader.number())}
    reader.end()
    return vector


def write_vector(vector: Mapping[int, int]) -> bytes:
    """Return the bytes of a state vector."""
    written = bytearray()
    for number in (len(vector), *(each for pair in vector.items() for each in pair)):
        while number > 0x7F:
            written.append(number & 0x7F | 0x80)
            number >>= 7
        written.append(number)
    return bytes(written)

"""Records of a run, one JSON array a line. Times are ``time.monotonic()``, which is one clock for all processes of a
machine.

``Record`` is what clients, writers, the bailiff and the injector of faults write; :class:`Truth` is what the database
holds in the end.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """The common part of all records: the time of writing."""

    at: float


# ── a client's history ───────────────────────────────────────────────────────────────────────────────────────────────


class Opened(Line, frozen=True, tag="opened"):
    """A connection was welcomed. ``link`` counts a client's connections, ``server`` is the index of its server."""

    client: str
    link: int
    user: str
    server: int
    via: str


class Renewed(Line, frozen=True, tag="renewed"):
    """A server has accepted a new connection behind the one that the page sees: a stream for other topics, or a session of polls on
    another server after an answer that was lost. The browser client goes on with its link."""

    client: str
    link: int


class Closed(Line, frozen=True, tag="closed"):
    client: str
    link: int
    code: int
    why: str


class Joined(Line, frozen=True, tag="joined"):
    """``since`` is what the client asked for; the other fields are from the server's answer."""

    client: str
    link: int
    topic: str
    since: int | None
    epoch: str | None
    offset: int | None
    recovered: bool | None
    members: list[str] | None = None


class Refused(Line, frozen=True, tag="refused"):
    """A join was answered with an error."""

    client: str
    link: int
    topic: str
    code: str


class Got(Line, frozen=True, tag="got"):
    """An event arrived. ``check`` is the CRC-32 of its payload."""

    client: str
    link: int
    topic: str
    name: str
    value: str
    check: int
    offset: int | None


class Reset(Line, frozen=True, tag="reset"):
    client: str
    link: int
    topic: str
    reason: str
    offset: int | None


class Left(Line, frozen=True, tag="left"):
    """The server ended a subscription."""

    client: str
    link: int
    topic: str
    code: str


class Presence(Line, frozen=True, tag="presence"):
    """``members``, if it is there, takes the place of what was known."""

    client: str
    link: int
    topic: str
    joined: list[str]
    left: list[str]
    members: list[str] | None = None


class Asked(Line, frozen=True, tag="asked"):
    """A call was made, for the first time or again."""

    client: str
    link: int
    topic: str
    action: str
    key: str
    value: str


class Answered(Line, frozen=True, tag="answered"):
    """``code`` is empty when the call had a result."""

    client: str
    link: int
    key: str
    value: str
    code: str


class Finished(Line, frozen=True, tag="finished"):
    """The client's state when it was told to end: what it still waits for."""

    client: str
    missing: list[str]
    pending: list[str]


History = (
    Opened | Renewed | Closed | Joined | Refused | Got | Reset | Left | Presence | Asked | Answered | Finished
)

# ── writers, and the bailiff, which revokes ──────────────────────────────────────────────────────────────────────────


class Tried(Line, frozen=True, tag="tried"):
    """A writer is about to commit ``kept`` and to roll ``dropped`` back, each a pair of topic and value."""

    writer: str
    number: int
    kept: list[tuple[str, str]]
    dropped: list[tuple[str, str]]


class Ended(Line, frozen=True, tag="ended"):
    """``outcome``: ``committed``, ``rolled back``, or ``unsure`` when the database left before it had answered."""

    writer: str
    number: int
    outcome: str


class Revoked(Line, frozen=True, tag="revoked"):
    """``at`` is when the call that revokes had returned, ``began`` when it was made; ``topic`` is empty for all."""

    began: float
    act: str
    user: str
    topic: str = ""
    client: str = ""


class Readmitted(Line, frozen=True, tag="readmitted"):
    """``at`` is when it was about to happen."""

    user: str
    topic: str = ""


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Injected(Line, frozen=True, tag="injected"):
    """A fault, when it was over: from ``began`` to ``at``."""

    began: float
    kind: str
    target: str
    note: str = ""


Record = History | Tried | Ended | Revoked | Readmitted | Injected

# ── what the database holds in the end ───────────────────────────────────────────────────────────────────────────────


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One entry of the log. ``at`` is when its publisher began to publish it."""

    offset: int
    name: str
    value: str
    check: int
    exclude: str
    at: float


class TopicLog(msgspec.Struct, frozen=True, kw_only=True):
    epoch: str
    head: int
    entries: list[Entry]


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """``rows`` are what the application wrote beside its events: topic and value. ``waiting`` counts events that have no
    offset yet."""

    logs: dict[str, TopicLog]
    rows: list[tuple[str, str]]
    waiting: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class Journal:
    """A file of records, each written whole, so that a killed process leaves at most half a line."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._lines: list[bytes] = []

    def note(self, record: Record) -> None:
        """Write at once."""
        self._file.write(_encode(record) + b"\n")

    def gather(self, record: Record) -> None:
        """Keep until :meth:`flush`: for processes that are never killed."""
        self._lines.append(_encode(record))

    def close(self) -> None:
        self.flush()
        self._file.close()

    def flush(self) -> None:
        if self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()


def read(paths: Iterable[Path]) -> Iterator[Record]:
    """All records of some files. Half a line at a file's end means that its writer was killed while it wrote."""
    for path in paths:
        for line in path.read_bytes().split(b"\n"):
            if line:
                try:
                    yield _decode(line)
                except msgspec.DecodeError:
                    continue

"""The shape of results: samples of a figure, gathered over runs, kept as JSON."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.generator import Refused, RunFailed
from bench.progress import Progress
from bench.servers import Peer, Served, Surroundings, served


class Spread(NamedTuple):
    """A figure over several runs."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Size and duration of a run; --quick makes them small."""

    quick: bool
    runs: int
    seconds: float
    peers: tuple[Peer, ...]
    """Those that --peer names, in their order."""

    def members(self, full: int) -> int:
        return min(full, 100) if self.quick else full


@dataclass(kw_only=True)
class Table:
    """The results of one workload: for each case (peer and parameters), what each run measured."""

    workload: str
    cases: dict[tuple[Any, ...], list[dict[str, float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Peers whose server refused a part of what a run asked for, and what it was. No figure of the run holds."""

    def add(self, case: tuple[Any, ...], **measured: float) -> None:
        self.cases.setdefault(case, []).append(measured)

    def spread(self, case: tuple[Any, ...], name: str) -> Spread | None:
        values = [run[name] for run in self.cases.get(case, []) if name in run]
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "missing": self.missing,
            "refused": self.refused,
            "cases": [{"case": list(case), "runs": runs} for case, runs in self.cases.items()],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Table":
        return cls(
            workload=found["workload"],
            missing=found["missing"],
            refused=found.get("refused", {}),
            cases={tuple(entry["case"]): entry["runs"] for entry in found["cases"]},
        )


def refused(tables: Iterable[Table]) -> Iterator[str]:
    """Describe each run whose figures do not hold."""
    for table in tables:
        for peer, why in table.refused.items():
            yield f"{table.workload}, {peer}: {why}"


def by_turns(
    table: Table,
    peers: Sequence[Peer],
    around: Surroundings,
    scale: Scale,
    progress: Progress,
    measure: Callable[[Served], None],
) -> None:
    """Measure each peer on its own server, in the order A B C A B C, so that other load on the machine affects all peers alike."""
    for number, peer in turns(table, peers, around, scale, progress):
        progress.begin(f"{table.workload}, run {number + 1}: {peer.name}")
        try:
            attempt(peer, around, measure)
        except Exception as error:
            why = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            progress.note(f"{table.workload}: {peer.name}: {why}")
            (table.refused if isinstance(error, Refused) else table.missing)[peer.key] = why
        progress.done()


def turns(
    table: Table, peers: Sequence[Peer], around: Surroundings, scale: Scale, progress: Progress
) -> Iterator[tuple[int, Peer]]:
    for number in range(scale.runs):
        for peer in peers:
            if peer not in scale.peers:
                continue
            if why := around.lacks(peer):
                table.missing[peer.key] = why
                progress.done()
            else:
                yield number, peer


def attempt(peer: Peer, around: Surroundings, measure: Callable[[Served], None]) -> None:
    """Run it, and once more on a new server if a connection failed."""
    try:
        with served(peer, around) as server:
            measure(server)
    except RunFailed:
        with served(peer, around) as server:
            measure(server)

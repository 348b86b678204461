"""Summary of many runs one after the other, as text for `docs/chaos.md`."""

import subprocess
from collections import Counter
from dataclasses import dataclass, field

from .checker import Kind
from .fleet import ROOT
from .run import Outcome

REASON = 300
"""How much of the reason for which a run was not judged is repeated here; all of it is beside the run's logs."""


def commit() -> str:
    """The commit of Holdfast that is tested, and whether its files are those of that commit."""
    asked = ["git", "describe", "--always", "--dirty=, with changes", "--abbrev=7", "--exclude=*"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def reason(error: BaseException) -> str:
    """An error in one line; of a group, those that it consists of."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(reason, error.exceptions)))
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:REASON] if said else type(error).__name__


@dataclass(kw_only=True)
class Summary:
    """``command`` is what repeats the runs, ``commit`` what they were made with. ``unjudged`` says of a seed why the
    harness could not come to a verdict."""

    command: str
    commit: str
    judged: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    unjudged: dict[int, str] = field(default_factory=dict)
    troubled: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        seed = outcome.options.seed
        self.judged.append(seed)
        self.counts.update(outcome.counts)
        self.faults.update(outcome.faults)
        self.kinds.update(outcome.by_kind)
        if outcome.violations:
            self.broken.append(seed)
        if outcome.trouble:
            self.troubled.append(seed)

    def failed(self, seed: int, error: BaseException) -> None:
        self.unjudged[seed] = reason(error)

    @property
    def is_good(self) -> bool:
        """Return whether every run came to a verdict and found no violation."""
        return not self.broken and not self.unjudged

    def markdown(self) -> str:
        rows = [
            ("command", f"`{self.command}`"),
            ("commit", self.commit),
            ("schedules", f"{len(self.judged)} judged, {len(self.unjudged)} not, in {self.seconds / 60:.0f} minutes"),
            ("faults", f"{self.counts['faults']:,}: {_listed(self.faults)}"),
            ("transactions", ", ".join(self._count(name) for name in ("committed", "rolled back", "unsure"))),
            ("log entries", f"{self.counts['log entries']:,}"),
            ("deliveries", f"{self.counts['deliveries']:,}, over {self.counts['connections']:,} connections"),
            ("calls answered", f"{self.counts['answers']:,}, which had been sent {self.counts['sendings']:,} times"),
            ("revocations", f"{self.counts['revocations']:,}"),
            *[(kind.value, f"{self.kinds[kind]:,}") for kind in Kind],
            ("seeds with a violation", _seeds(self.broken)),
            ("seeds whose servers logged what they should not", _seeds(self.troubled)),
            *[(f"seed {seed} was not judged", _in_a_cell(why)) for seed, why in self.unjudged.items()],
        ]  # fmt: skip
        return "\n".join(["| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in rows], ""])

    def _count(self, name: str) -> str:
        return f"{self.counts[name]:,} {name}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def _seeds(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds)) or "none"


def _in_a_cell(text: str) -> str:
    return text.replace("|", "\\|")

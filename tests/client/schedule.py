"""One fault schedule: a client makes calls over a line that breaks, and what it heard is judged."""

import random
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The values that follow from a seed: the client's source of random numbers and its calls. ``base`` and ``cap`` are the backoff's, in
    seconds, short so that many connections break in little time."""

    seed: int
    calls: int = 15
    base: float = 0.05
    cap: float = 0.2

    @property
    def chance(self) -> float:
        """The constant that the client takes for a random number, so that each wait is known."""
        return random.Random(self.seed).uniform(0.2, 1.0)

    @property
    def texts(self) -> list[str]:
        return [f"{self.seed}-{number}".rjust(200, ".") for number in range(self.calls)]

    def wait(self, attempt: int) -> float:
        """Return the seconds that the backoff asks for before an attempt; the first has none."""
        return self.chance * min(self.cap, self.base * 2.0 ** (attempt - 1)) if attempt else 0.0


@dataclass(kw_only=True)
class Heard:
    """The messages that a client received. ``answers`` are the results of its calls in their order, ``events`` the payloads in the order in which
    they came, and ``waits`` the seconds between the end of each connection and the next attempt."""

    answers: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """For each wait, its number since the backoff last began again; empty: it never did."""
    left: list[str] = field(default_factory=list)
    """Listeners, timers or tasks that are there after the client was closed."""


CLOCK = 0.004
"""Seconds by which a timer may be early: clocks count milliseconds."""


def judge(schedule: Schedule, heard: Heard, told: list[Any]) -> list[str]:
    """Return what is wrong. ``told`` are the events as a client on a good line heard them."""
    wrong = []
    if len(set(heard.answers)) != schedule.calls:
        wrong.append(f"{len(set(heard.answers))} of {schedule.calls} calls have an answer of their own")
    if sorted(event["id"] for event in told) != sorted(heard.answers):
        wrong.append("the calls that were carried out are not those that were answered")
    if [event["id"] for event in heard.events] != [event["id"] for event in told]:
        wrong.append(
            f"heard {[event['id'] for event in heard.events]}, published {[event['id'] for event in told]}"
        )
    rows = heard.rows or range(1, len(heard.waits) + 1)
    for number, wait in zip(rows, heard.waits, strict=True):
        if wait < schedule.wait(number) - CLOCK:
            wrong.append(f"attempt {number} came after {wait:.3f} s instead of {schedule.wait(number):.3f} s")
    wrong += [f"left after the end: {what}" for what in heard.left]
    return [f"seed {schedule.seed}: {what}" for what in wrong]

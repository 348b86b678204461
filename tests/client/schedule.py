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


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to come back, in seconds of a clock of the client's process that never goes back.

    ``lasted`` is the longest time for which the connection before it can have been online; 0: it never was. ``planned`` is the wait
    that the client announced when that connection ended, and ``waited`` the time from the announcement to the attempt. Whatever
    delays the process can only lengthen ``lasted`` and ``waited``: a busy machine makes no client look hurried.
    """

    lasted: float
    planned: float
    waited: float


@dataclass(kw_only=True)
class Heard:
    """The messages that a client received. ``answers`` are the results of its calls in their order, ``events`` the payloads in the order in which
    they came, and ``attempts`` all attempts after the first."""

    answers: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Listeners, timers or tasks that are there after the client was closed."""


CLOCK = 0.004
"""Seconds by which a timer may be early: clocks count milliseconds."""

EXACT = 0.000_001
"""Seconds by which a planned wait may differ: it is a result of arithmetic, not of a clock."""

STEADY = 10.0 - 0.1
"""Seconds online after which a client may begin its backoff again. The client counts ten by the time of day, which may be adjusted."""


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
    wrong += _hurried(schedule, heard.attempts)
    wrong += [f"left after the end: {what}" for what in heard.left]
    return [f"seed {schedule.seed}: {what}" for what in wrong]


def _hurried(schedule: Schedule, attempts: list[Attempt]) -> list[str]:
    wrong = []
    number = 0  # of the attempts since the backoff last began
    for attempt in attempts:
        number = 1 if attempt.lasted >= STEADY else number + 1
        least = schedule.wait(number)
        if attempt.planned < least - EXACT:
            wrong.append(
                f"attempt {number} was planned after {attempt.planned:.3f} s instead of {least:.3f} s"
            )
        if attempt.waited < attempt.planned - CLOCK:
            wrong.append(
                f"attempt {number} came after {attempt.waited:.3f} s instead of the planned {attempt.planned:.3f} s"
            )
    return wrong

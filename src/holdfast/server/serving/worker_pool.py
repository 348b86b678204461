"""State machine for the workers of ``holdfast serve``: which to start, drain or kill. No processes, signals or clock.

The caller reports what happens, with the time as an argument. The pool passes instructions to ``do``.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

import msgspec

READY_SECONDS = 60.0
"""Seconds that a worker may take until it serves."""

STABLE_SECONDS = 60.0
"""A worker that dies after serving for this many seconds is replaced at once."""

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0

HURRY_SECONDS = 3.0
"""Seconds after a second signal until the workers that remain are killed."""

FAILED_TO_START = 3
"""Exit status when no worker could start. Uvicorn uses the same."""


class Stage(Enum):
    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"


class Worker:
    """A worker process, from its start to its end."""

    def __init__(self, number: int, slot: int, now: float) -> None:
        self.number = number
        self.slot = slot
        self.stage = Stage.STARTING
        self.since = now

    def __repr__(self) -> str:
        return f"worker {self.number}"


class StartWorker(msgspec.Struct, frozen=True):
    worker: Worker


class DrainWorker(msgspec.Struct, frozen=True):
    worker: Worker


class HurryWorker(msgspec.Struct, frozen=True):
    worker: Worker


class KillWorker(msgspec.Struct, frozen=True):
    worker: Worker


class Report(msgspec.Struct, frozen=True):
    """A log line for the operator. ``bad``: an error, which needs attention."""

    text: str
    bad: bool = False


class Ready(msgspec.Struct, frozen=True):
    """All workers serve, for the first time or after a reload."""


Instruction = StartWorker | DrainWorker | HurryWorker | KillWorker | Report | Ready


class WorkerPool:
    """Keeps ``size`` workers serving, each in its slot.

    - A worker that dies is replaced: at once if it had served for ``STABLE_SECONDS``, else after a wait that doubles with
      each failure.
    - If a worker cannot start before any worker has ever served, the pool ends with status 3: another start would fail too.
    - :meth:`reload` replaces the workers one by one. It starts a new worker and, once that serves, drains the old one. When
      the old one has ended, the next slot follows. If a new worker does not serve, the reload is abandoned and the
      remaining old workers stay.
    - :meth:`worn` replaces one worker in the same way.
    - :meth:`stop` drains all workers at once. The second call makes them hurry.
    """

    def __init__(self, size: int, do: Callable[[Instruction], None], *, leaving_seconds: float) -> None:
        self.status = 0
        self._do = do
        self._leaving_seconds = leaving_seconds
        self._workers: set[Worker] = set()
        self._slots: list[Worker | None] = [None] * size
        self._failures = [0] * size
        self._start_at: dict[int, float] = {}
        self._served = False
        self._complete = False
        self._stopping = False
        self._kill_at: float | None = None
        self._to_replace: deque[int] = deque()
        self._coming: Worker | None = None
        self._going: Worker | None = None
        self._again = False
        self._reloads = False
        self._numbers = 0

    @property
    def over(self) -> bool:
        return self._stopping and not self._workers

    @property
    def reloading(self) -> bool:
        return bool(self._to_replace or self._coming or self._going)

    # ── requests of the operator ───────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> None:
        for slot in range(len(self._slots)):
            self._slots[slot] = self._start(slot, now)

    def reload(self, now: float) -> None:
        if self._stopping:
            return
        if self.reloading:
            self._again = True
            return
        self._reloads = True
        self._to_replace = deque(range(len(self._slots)))
        self._replace_next(now)

    def stop(self, now: float) -> None:
        if self._stopping:
            self._kill_at = min(self._kill_at or now, now + HURRY_SECONDS)
            for worker in self._workers:
                self._do(HurryWorker(worker))
            return
        self._stopping = True
        self._kill_at = now + self._leaving_seconds
        self._start_at.clear()
        self._to_replace.clear()
        for worker in self._workers:
            self._drain(worker, now)

    # ── events ─────────────────────────────────────────────────────────────────────────────────────────────────

    def serves(self, worker: Worker, now: float) -> None:
        """The worker accepts connections."""
        if worker.stage is not Stage.STARTING:
            return
        worker.stage, worker.since = Stage.SERVING, now
        self._served = True
        if worker is self._coming:
            self._coming, old = None, self._slots[worker.slot]
            self._slots[worker.slot] = worker
            self._failures[worker.slot] = 0
            if old is None:
                self._replace_next(now)
            else:
                self._going = old
                self._drain(old, now)
        elif not self._complete and all(each and each.stage is Stage.SERVING for each in self._slots):
            self._complete = True
            self._do(Ready())

    def worn(self, worker: Worker, now: float) -> None:
        """The worker has handled as many requests as it may. It serves until its replacement does."""
        if self._stopping or worker.stage is not Stage.SERVING or self._slots[worker.slot] is not worker:
            return
        if worker.slot in self._to_replace or (self._coming and self._coming.slot == worker.slot):
            return
        idle = not self.reloading
        self._do(Report(f"{worker!r} has reached the limit of requests; replacing it."))
        self._to_replace.append(worker.slot)
        if idle:
            self._replace_next(now)

    def ended(self, worker: Worker, how: str, now: float) -> None:
        """The worker's process has ended. ``how`` describes its status in a log line, such as ``"ended with status 1"``."""
        self._workers.discard(worker)
        if worker is self._coming:
            self._coming = None
            if not self._stopping:
                self._give_up(f"The new {worker!r} {how} before it served", now)
        elif worker is self._going:
            self._going = None
            if not self._stopping:
                self._replace_next(now)
        elif self._slots[worker.slot] is worker:
            self._slots[worker.slot] = None
            if not self._stopping:
                self._lost(worker, how, now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for slot, at in tuple(self._start_at.items()):
            if now >= at:
                del self._start_at[slot]
                if self._slots[slot] is None and not (self._coming and self._coming.slot == slot):
                    self._slots[slot] = self._start(slot, now)
        for worker in self._workers:
            if now >= self._limit(worker):
                worker.since = now  # so that it is not killed again with the next tick
                self._do(
                    Report(f"{worker!r} has been {worker.stage.value} for too long; killing it.", bad=True)
                )
                self._do(KillWorker(worker))

    def next_time(self) -> float | None:
        """Return the time at which :meth:`tick` is due if nothing happens before; ``None`` if never."""
        limits = [self._limit(worker) for worker in self._workers]
        return min((at for at in (*self._start_at.values(), *limits) if at != float("inf")), default=None)

    # ── the rules ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _limit(self, worker: Worker) -> float:
        if self._kill_at is not None and worker.since < self._kill_at:
            return self._kill_at
        match worker.stage:
            case Stage.STARTING:
                return worker.since + READY_SECONDS
            case Stage.LEAVING:
                return worker.since + self._leaving_seconds
            case Stage.SERVING:
                return float("inf")

    def _start(self, slot: int, now: float) -> Worker:
        self._numbers += 1
        worker = Worker(self._numbers, slot, now)
        self._workers.add(worker)
        self._do(StartWorker(worker))
        return worker

    def _drain(self, worker: Worker, now: float) -> None:
        worker.stage, worker.since = Stage.LEAVING, now
        self._do(DrainWorker(worker))

    def _lost(self, worker: Worker, how: str, now: float) -> None:
        starting = worker.stage is Stage.STARTING
        if starting and not self._served:
            self._do(
                Report(
                    f"{worker!r} {how} before it served; the log above says why. Stopping all workers.",
                    bad=True,
                )
            )
            self.status = FAILED_TO_START
            self.stop(now)
            return
        if self._coming is not None and self._coming.slot == worker.slot:
            self._do(Report(f"{worker!r} {how}; its replacement is starting.", bad=True))
            return
        lasted = not starting and now - worker.since >= STABLE_SECONDS
        failures = self._failures[worker.slot] = 1 if lasted else self._failures[worker.slot] + 1
        wait = _wait(failures - 1 if not starting else failures)
        when = f"in {wait:g} s" if wait else "at once"
        what = f"{how} before it served" if starting else how
        self._do(Report(f"{worker!r} {what}; another one starts {when}.", bad=True))
        self._start_at[worker.slot] = now + wait
        self.tick(now)

    def _replace_next(self, now: float) -> None:
        if self._to_replace:
            slot = self._to_replace.popleft()
            self._start_at.pop(slot, None)
            self._coming = self._start(slot, now)
            return
        if self._reloads:
            self._reloads = False
            self._do(Report("All workers are replaced."))
        self._do(Ready())
        self._reload_again(now)

    def _give_up(self, why: str, now: float) -> None:
        self._to_replace.clear()
        self._reloads = False
        self._do(Report(f"{why}. The reload is abandoned; the running workers keep serving.", bad=True))
        for slot, worker in enumerate(self._slots):
            if worker is None and slot not in self._start_at:
                self._start_at[slot] = now + FIRST_WAIT_SECONDS
        self._do(Ready())
        self._reload_again(now)

    def _reload_again(self, now: float) -> None:
        if self._again:
            self._again = False
            self.reload(now)


def _wait(failures: int) -> float:
    """Return the seconds to wait before the start after this many failures in a row."""
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (failures - 1)) if failures else 0.0

"""Runs the workers of ``holdfast serve --workers``: processes, signals and sockets around :mod:`.worker_pool`'s decisions.

Each worker is a fresh interpreter (``spawn``), so that a replaced one has the new code. What is to be done is said to it
over a socket and not by signals: a worker cannot mistake what a terminal or systemd sends to the whole group for it, and
it notices when its supervisor is gone. As process 1 of a container it also takes leave of orphans.
"""

import contextlib
import logging
import multiprocessing
import os
import selectors
import signal
import socket
import time
from multiprocessing.context import SpawnProcess
from typing import Any

import uvicorn

from . import systemd
from .worker import DRAIN, HURRY, SERVES, work
from .worker_pool import (
    DrainWorker,
    HurryWorker,
    Instruction,
    KillWorker,
    Ready,
    Report,
    StartWorker,
    Worker,
    WorkerPool,
)

logger = logging.getLogger("uvicorn.error")

STOPPING = (signal.SIGTERM, signal.SIGINT)
HEEDED = (*STOPPING, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """``leaving_seconds``: after how long a worker that was told to drain is killed."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        size: int,
        *,
        drain_seconds: float,
        leaving_seconds: float,
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._drain_seconds = drain_seconds
        self._pool = WorkerPool(size, self._do, leaving_seconds=leaving_seconds)
        self._size = size
        self._processes: dict[int, tuple[Worker, SpawnProcess]] = {}
        self._stillborn: list[tuple[Worker, str]] = []
        self._lines: dict[Worker, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until a signal ends it; return the exit status."""
        logger.info("Supervisor %d starts %d workers.", os.getpid(), self._size)
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, None)
            self._pool.begin(time.monotonic())
            while not self._pool.over:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is None:
                        self._signalled(signals.recv(4096))
                    else:
                        self._heard(key.data)
                self._take_leave()
                self._pool.tick(time.monotonic())
        logger.info("Supervisor %d has ended.", os.getpid())
        return self._pool.status

    def _patience(self) -> float | None:
        """For how many seconds to wait, if nothing happens before."""
        at = time.monotonic() if self._stillborn else self._pool.next_time()
        return None if at is None else max(0.0, at - time.monotonic())

    @contextlib.contextmanager
    def _signals(self) -> Any:
        """A socket on which the numbers of signals arrive (``signal.set_wakeup_fd``)."""
        reads, writes = socket.socketpair()
        with reads, writes:
            writes.setblocking(False)
            before = {number: signal.signal(number, lambda *_: None) for number in HEEDED}
            fd = signal.set_wakeup_fd(writes.fileno())
            try:
                yield reads
            finally:
                signal.set_wakeup_fd(fd)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _signalled(self, numbers: bytes) -> None:
        now = time.monotonic()
        for number in numbers:
            if number in STOPPING:
                systemd.stopping()
                for listening in self._sockets:
                    listening.close()  # as the workers do: who comes now is refused and can go elsewhere
                self._pool.stop(now)
            elif number == signal.SIGHUP:
                logger.info("SIGHUP: the workers are replaced one by one.")
                systemd.reloading()
                self._pool.reload(now)

    def _take_leave(self) -> None:
        """Of every process that has ended, or never began: of workers, and, as process 1, of any orphan."""
        stillborn, self._stillborn = self._stillborn, []
        for worker, how in stillborn:
            self._pool.ended(worker, how, time.monotonic())
        for pid, (worker, process) in tuple(self._processes.items()):
            status = process.exitcode
            if status is not None:
                del self._processes[pid]
                self._hang_up(worker)
                self._pool.ended(worker, _how(status, pid), time.monotonic())
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in self._processes:
                    return  # it has just ended, and a signal says so
                os.waitpid(found.si_pid, 0)

    def _heard(self, worker: Worker) -> None:
        line = self._lines.get(worker)
        if line is None:
            return
        try:
            said = line.recv(16)
        except OSError:
            said = b""
        if said.startswith(SERVES):
            self._pool.serves(worker, time.monotonic())
        elif not said:
            self._hang_up(worker)  # SIGCHLD tells the rest

    def _hang_up(self, worker: Worker) -> None:
        line = self._lines.pop(worker, None)
        if line is not None:
            self._selector.unregister(line)
            line.close()

    # ── carrying orders out ──────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, order: Instruction) -> None:
        match order:
            case StartWorker():
                self._start(order.worker)
            case DrainWorker():
                self._tell(order.worker, DRAIN)
            case HurryWorker():
                self._tell(order.worker, HURRY)
            case KillWorker():
                for worker, process in self._processes.values():
                    if worker is order.worker:
                        process.kill()
            case Report():
                logger.log(logging.ERROR if order.bad else logging.INFO, order.text)
            case Ready():
                systemd.ready(f"{self._size} workers serve")

    def _start(self, worker: Worker) -> None:
        try:
            process, line = self._spawned(worker)
        except OSError as error:  # no memory, no files, no processes left: perhaps there are later
            self._stillborn.append((worker, f"could not be started: {error}"))
            return
        assert process.pid is not None
        self._processes[process.pid] = worker, process
        self._lines[worker] = line
        self._selector.register(line, selectors.EVENT_READ, worker)

    def _spawned(self, worker: Worker) -> tuple[SpawnProcess, socket.socket]:
        """The worker's process, and our end of the line to it."""
        with contextlib.ExitStack() as stack:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            with theirs:
                process = multiprocessing.get_context("spawn").Process(
                    target=work,
                    args=(self._config, self._sockets, theirs, self._drain_seconds),
                    name=f"holdfast-{worker.number}",
                )
                process.start()
            stack.pop_all()
        return process, ours

    def _tell(self, worker: Worker, what: bytes) -> None:
        line = self._lines.get(worker)
        if line is not None:
            with contextlib.suppress(OSError):
                line.sendall(what)


def _how(status: int, pid: int) -> str:
    if status < 0:
        try:
            return f"(process {pid}) was killed by {signal.Signals(-status).name}"
        except ValueError:
            pass
    return f"(process {pid}) ended with status {status}"

"""Supervisor of ``holdfast serve --workers``: processes, signals and sockets around the decisions of :mod:`.worker_pool`.

Each worker is a fresh interpreter (``spawn``), so that a replacement has the new code. The supervisor commands its workers
over a socket, and not by signals: a terminal or systemd may signal the whole process group, and a worker must not mistake
that for a command. Through the socket a worker also notices when its supervisor is gone. As process 1 of a container the
supervisor reaps orphans too.
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
from .worker import DRAIN, HURRY, SERVES, WORN, work
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
    """Starts, replaces and ends worker processes. A worker that drains for ``leaving_seconds`` is killed."""

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
        self._failed_starts: list[tuple[Worker, str]] = []
        self._lines: dict[Worker, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Run until a signal ends it; return the exit status."""
        logger.info("Supervisor %d starts %d workers.", os.getpid(), self._size)
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, None)
            self._pool.begin(time.monotonic())
            while not self._pool.over:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is None:
                        self._signalled(signals.recv(4096))
                    else:
                        self._receive(key.data)
                self._reap()
                self._pool.tick(time.monotonic())
        logger.info("Supervisor %d has ended.", os.getpid())
        return self._pool.status

    def _patience(self) -> float | None:
        """Return the seconds to wait for an event; ``None``: without limit."""
        at = time.monotonic() if self._failed_starts else self._pool.next_time()
        return None if at is None else max(0.0, at - time.monotonic())

    @contextlib.contextmanager
    def _signals(self) -> Any:
        """Yield a socket that receives the number of each signal (``signal.set_wakeup_fd``)."""
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
                    listening.close()  # as the workers do: new clients are refused at once and can connect elsewhere
                self._pool.stop(now)
            elif number == signal.SIGHUP:
                logger.info("SIGHUP: replacing the workers one by one.")
                systemd.reloading()
                self._pool.reload(now)

    def _reap(self) -> None:
        """Collect every process that has ended or could not be started: workers and, as process 1, any orphan."""
        failed, self._failed_starts = self._failed_starts, []
        for worker, how in failed:
            self._pool.ended(worker, how, time.monotonic())
        for pid, (worker, process) in tuple(self._processes.items()):
            status = process.exitcode
            if status is not None:
                del self._processes[pid]
                self._close_line(worker)
                self._pool.ended(worker, _how(status, pid), time.monotonic())
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in self._processes:
                    return  # it has ended just now; its SIGCHLD follows
                os.waitpid(found.si_pid, 0)

    def _receive(self, worker: Worker) -> None:
        line = self._lines.get(worker)
        if line is None:
            return
        try:
            message = line.recv(16)
        except OSError:
            message = b""
        if SERVES in message:
            self._pool.serves(worker, time.monotonic())
        if WORN in message:
            self._pool.worn(worker, time.monotonic())
        if not message:
            self._close_line(worker)  # SIGCHLD reports the end of the process

    def _close_line(self, worker: Worker) -> None:
        line = self._lines.pop(worker, None)
        if line is not None:
            self._selector.unregister(line)
            line.close()

    # ── instructions of the pool ──────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case StartWorker():
                self._start(instruction.worker)
            case DrainWorker():
                self._send(instruction.worker, DRAIN)
            case HurryWorker():
                self._send(instruction.worker, HURRY)
            case KillWorker():
                for worker, process in self._processes.values():
                    if worker is instruction.worker:
                        process.kill()
            case Report():
                logger.log(logging.ERROR if instruction.bad else logging.INFO, instruction.text)
            case Ready():
                systemd.ready(f"{self._size} workers serve")

    def _start(self, worker: Worker) -> None:
        try:
            process, line = self._spawned(worker)
        except OSError as error:  # no memory, files or processes left; a later try may succeed
            self._failed_starts.append((worker, f"could not be started: {error}"))
            return
        assert process.pid is not None
        self._processes[process.pid] = worker, process
        self._lines[worker] = line
        self._selector.register(line, selectors.EVENT_READ, worker)

    def _spawned(self, worker: Worker) -> tuple[SpawnProcess, socket.socket]:
        """Start the worker's process; return it and the supervisor's end of the socket to it."""
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

    def _send(self, worker: Worker, what: bytes) -> None:
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

"""Connection to one other process of the same machine.

The thread that publishes hands frames to the system at once: that costs some microseconds and never blocks. Frames that the
system does not accept wait here, within bounds. A process that stopped reading (in a debugger, or suspended) costs at most
that: it is then cut off, and when it reads again it learns that frames are missing.
"""

import os
import socket
from collections import Counter, deque

from .folder import Folder
from .local_frames import GAP_FRAME

FRAMES = 10_000
BYTES = 32_000_000
"""Most that may wait for one process."""

PATIENCE = 10.0
"""Seconds within which a process must read some of the frames that wait for it."""

PAUSE = 1.0
"""Seconds before a process that was cut off is tried again."""

WARN_SECONDS = 60.0
"""Least number of seconds between two warnings about one process."""

TOGETHER = 65_536
"""Bytes that are handed to the system in one call."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class PeerProcess:
    """The process that listens under ``name``. Only under its owner's lock."""

    def __init__(self, folder: Folder, name: str, lost: "Counter[str]") -> None:
        self.name, self._folder, self._lost = name, folder, lost
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._moved = 0.0  # when the system last took something, or nothing was waiting
        self._again = 0.0
        self._gap = self._sending = False
        self._stalled = False
        self._reported = -WARN_SECONDS

    def is_to_be_reported(self, now: float) -> bool:
        """Return whether to warn that frames were dropped because the process does not read."""
        stalled, self._stalled = self._stalled, False
        if not stalled or now - self._reported < WARN_SECONDS:
            return False
        self._reported = now
        return True

    def put(self, frame: bytes, now: float) -> None:
        """Queue ``frame`` for the next :meth:`push`."""
        try:
            self._connect(now)
        except FileNotFoundError:
            return  # it has ended, and misses nothing
        except OSError:
            self._drop(1, "failed")
            self._pause(now)
            return
        if not self._waiting:
            self._moved = now
        self._waiting.append(frame)
        self._bytes += len(frame)
        if self._sending:
            return  # a signal handler that publishes has interrupted `push`
        if len(self._waiting) > FRAMES or (self._bytes > BYTES and len(self._waiting) > 1):
            self._cut_off("overflow", now)

    def push(self, now: float) -> bool:
        """Hand over as much as the system accepts; return whether nothing waits any more."""
        if self._sending or self._socket is None:
            return not self._waiting
        self._sending = True
        try:
            while self._waiting:
                sent = self._socket.send(self._next(), NO_SIGNAL)
                self._moved = now
                self._bytes -= sent
                if sent < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][sent:]
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            if now - self._moved > PATIENCE:
                self._cut_off("expired", now)
        except OSError:  # it has ended, or closed the connection
            self._drop(len(self._waiting), "failed")
            self.close()
        finally:
            self._sending = False
        return not self._waiting

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._waiting.clear()
        self._bytes = 0

    def __del__(self) -> None:
        self.close()  # a process that only sends never stops its backplane

    def forget(self) -> None:
        """In a forked child: the connection is the parent's."""
        if self._socket is not None:
            os.close(self._socket.detach())
            self._socket = None

    def _connect(self, now: float) -> None:
        if self._socket is not None:
            return
        if now < self._again:
            raise BlockingIOError
        self._socket = self._folder.connect(self.name)
        if self._gap:
            self._gap = False
            self._waiting.append(GAP_FRAME)
            self._bytes += len(GAP_FRAME)

    def _next(self) -> bytes:
        """Return the first data of ``_waiting``, after joining small frames there."""
        first = self._waiting[0]
        if len(first) < TOGETHER and len(self._waiting) > 1:
            parts, size = [], 0
            while self._waiting and size < TOGETHER:
                parts.append(self._waiting.popleft())
                size += len(parts[-1])
            first = b"".join(parts)
            self._waiting.appendleft(first)
        return first

    def _cut_off(self, reason: str, now: float) -> None:
        self._drop(len(self._waiting), reason)
        self.close()
        self._pause(now)

    def _pause(self, now: float) -> None:
        if now >= self._again:
            self._again, self._stalled = now + PAUSE, True

    def _drop(self, count: int, reason: str) -> None:
        self._lost[reason] += count
        self._gap = True

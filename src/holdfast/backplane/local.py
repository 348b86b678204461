"""Backplane on UNIX sockets, for the processes of one installation, of one user, on one machine. Needs no service.

**In.** A process that receives listens on a socket in the installation's :mod:`.folder` (:mod:`.listener`).

**Out.** Each message is written to every process that listens there (:mod:`.peer_process`), whatever topics it has; the receiver
picks out its own. So a subscription is an entry in a set, and messages sent from then on arrive. The next ``send`` finds a
new process, because it checks whether the folder has changed; it finds a dead one when that does not answer.

Messages arrive at most once. If a process does not read, the messages dropped for it are counted here, and it learns of
them when it reads again: then it calls ``interrupted``.
"""

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.process.fork import reset_after_fork
from holdfast.process.shutdown import LOOK_SECONDS, flush_at_exit

from .base import Backplane, Receive, ReceiveGroup
from .folder import SUFFIX, Folder, UnusableError
from .listener import Listener
from .local_frames import frame
from .loop_binding import LoopBinding, set_aside
from .peer_process import PeerProcess

logger = logging.getLogger("holdfast.backplane")

PUSH_SECONDS = 0.005
"""Seconds between two attempts to send data that the system did not accept."""

GAPS_TOGETHER = 0.1
"""Seconds for which gaps are gathered before ``interrupted`` is called."""

FIND_SECONDS = 1.0
"""Least number of seconds between two checks that the process's own socket is still there."""

STOP_SECONDS = 2.0
"""Most seconds that :meth:`LocalBackplane.stop` waits for messages that are still to be sent."""


class LocalBackplane(Backplane):
    """The processes that find each other in the folder ``path``."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self.lost: Counter[str] = Counter()
        """Number of messages that this process could not deliver to one of the others, by reason: overflow, expired, failed."""
        self._peers: dict[str, PeerProcess] = {}
        self._listener: Listener | None = None
        self._begin()
        reset_after_fork(self)
        flush_at_exit(self)

    def _begin(self) -> None:
        # Reentrant: a signal handler or a finalizer that publishes may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._binding = LoopBinding()
        self._pushing = False  # the loop tries again by itself
        self._peers, self._listener = {}, None
        self._stop_receiving()

    def _stop_receiving(self) -> None:
        self._name = f"{os.getpid()}-{secrets.token_hex(3)}{SUFFIX}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Receive | None = None
        self._interrupted: Callable[[], None] | None = None
        self._telling: asyncio.Handle | None = None
        self._looked = 0.0  # when it was last looked whether others can find the socket
        self._deaf = False  # it could not listen, and said so
        self._topics: set[str] = set()

    def reset_in_child(self) -> None:
        """In a forked child, neither receive nor send through sockets of the parent."""
        for opened in (*self._peers.values(), self._listener):
            if opened is not None:
                opened.forget()
        self.lost.clear()
        self._begin()

    def has_others(self) -> bool:
        return any(name != self._name for name in self._folder.names())

    # ── sending: any thread ──────────────────────────────────────────────────────────────────────────────────────────

    def send(self, topic: str, message: bytes) -> None:
        self.send_many([(topic, message)])

    def send_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if not self.has_others():
            if self._peers:
                with self._lock:
                    self._present()
            return
        with self._lock:
            now, peers = time.monotonic(), self._present()
            for topic, message in messages:
                written = frame(topic, message)
                for peer in peers:
                    peer.put(written, now)
            waiting = self._push(now)
            if self._binding.stopped:  # ended without stop(); the background loop pushes
                self._binding.loop, self._pushing = None, False
            wake = waiting and not self._pushing
            self._pushing = waiting
            stalled = [peer for peer in peers if peer.is_to_be_reported(now)]
        if wake:
            self._binding.call_soon(self._push_soon, used_by=self)  # else the interpreter ends: flush sends
        for peer in stalled:
            self._complain(peer)

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                if not self._push(time.monotonic()):
                    return True
            if (left := deadline - time.monotonic()) <= 0:
                return False
            time.sleep(min(left, LOOK_SECONDS))

    def _present(self) -> list[PeerProcess]:
        """Under the lock: the others, as the folder has them now."""
        names = set(self._folder.names()) - {self._name}
        for name in [name for name in self._peers if name not in names]:
            self._peers.pop(name).close()
        for name in names:
            if name not in self._peers:
                self._peers[name] = PeerProcess(self._folder, name, self.lost)
        return list(self._peers.values())

    def _push(self, now: float) -> bool:
        """Under the lock: send as much as the system accepts; return whether something still waits."""
        sent = [peer.push(now) for peer in self._peers.values()]
        return not all(sent)

    def _push_soon(self) -> None:
        """On a loop: push, now and again, until nothing waits."""
        with self._lock:
            now = time.monotonic()
            self._pushing = waiting = self._push(now)
            stalled = [peer for peer in self._peers.values() if peer.is_to_be_reported(now)]
        if waiting:
            asyncio.get_running_loop().call_later(PUSH_SECONDS, self._push_soon)
        for peer in stalled:
            self._complain(peer)

    def _complain(self, peer: PeerProcess) -> None:
        with set_aside():
            logger.warning(
                "Process %s does not read messages of this process (is it suspended, or in a debugger?); they are being "
                "dropped. It learns of the gap when it reads again.",
                peer.name.partition("-")[0],
            )

    # ── receiving: on one loop ───────────────────────────────────────────────────────────────────────────────────────

    async def start(
        self, receive: Receive, receive_group: ReceiveGroup, interrupted: Callable[[], None]
    ) -> None:
        if self._loop is not None:
            if self._loop.is_running():
                raise RuntimeError(
                    "This backplane was started already; stop() it before it is started again."
                )
            self._close_listener()  # of a loop that has ended without stop()
            self._stop_receiving()
            self._pushing = False
        self._receive, self._interrupted = receive, interrupted
        self._loop = self._binding.loop = asyncio.get_running_loop()
        self._looked = self._loop.time()
        self._listen()
        self._folder.tidy(self._name)

    async def stop(self) -> None:
        if self._loop is None:
            return
        if self._telling is not None:
            self._telling.cancel()
        self._close_listener()
        self._stop_receiving()
        deadline = time.monotonic() + STOP_SECONDS
        # Others may read at any moment, without a notification here.
        while (waiting := not self.flush(0)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(PUSH_SECONDS)
        self._binding.loop = None
        if waiting:
            self._binding.call_soon(self._push_soon, used_by=self)
        else:
            with self._lock:
                for peer in self._peers.values():
                    peer.close()

    async def subscribe(self, topic: str) -> None:
        if self._loop is None:
            raise RuntimeError("Start the backplane before subscribing: await backplane.start(…).")
        self._topics.add(topic)
        if self._loop.time() - self._looked < FIND_SECONDS:
            return
        self._looked = self._loop.time()
        if self._listener is None or not self._listener.can_be_found:
            self._close_listener()  # a cleaner of temporary files removed the socket
            self._listen()
            if not self._deaf:
                self._tell_soon()

    async def unsubscribe(self, topic: str) -> None:
        self._topics.discard(topic)

    def _listen(self) -> None:
        try:
            self._listener = Listener(self._folder, self._name, receive=self._arrived, gap=self._tell_soon)
        except (OSError, UnusableError) as error:
            if not self._deaf:
                logger.warning(
                    "This process cannot receive from the other processes of its machine: %s", error
                )
            self._deaf = True
        else:
            self._deaf = False

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _arrived(self, topic: str, message: bytes) -> None:
        if topic in self._topics and self._receive is not None:
            try:
                self._receive(topic, message)
            except Exception:
                logger.exception("Failed to handle a message of topic %r", topic)

    def _tell_soon(self) -> None:
        if self._telling is None and self._loop is not None:
            self._telling = self._loop.call_later(GAPS_TOGETHER, self._tell)

    def _tell(self) -> None:
        self._telling = None
        logger.warning("Another process lost messages that it could not send; resetting subscribers here.")
        if self._interrupted is not None:
            try:
                self._interrupted()
            except Exception:
                logger.exception("Failed to handle an interruption of the backplane")

"""Folder in which the processes of one installation on one machine find each other.

Each process that receives has a UNIX socket there, named after it. The folder belongs to one user and is closed to others
(0700): only users who could read the process's memory anyway can connect.
"""

import os
import socket
import stat
import time
from pathlib import Path

SUFFIX = ".v1"
"""End of a socket's name: the version of the frames. Processes of other versions are ignored."""

LONGEST = 103
"""The longest path of a UNIX socket in bytes, on every system (macOS: 104 with the final zero, Linux: 108)."""

NAME_BYTES = 24
"""Room for the separator and the name of a socket."""

SETTLED_NS = 100_000_000
"""Nanoseconds after a change from when on the last reading of the folder may be trusted: systems round the time of a
change."""

BACKLOG = 1024

ATTEMPTS = 5


class UnusableError(Exception):
    """Processes cannot find each other here; the message says why."""


def check(path: Path) -> None:
    """Raise :class:`UnusableError` if ``path`` cannot be such a folder. Creates nothing."""
    if not hasattr(socket, "AF_UNIX"):
        raise UnusableError("Python has no UNIX sockets on this system")
    if len(os.fsencode(path)) + NAME_BYTES > LONGEST:
        raise UnusableError(
            f"{path} is too long for the path of a UNIX socket; set the environment variable TMPDIR to a shorter one"
        )
    try:
        found = path.lstat()
    except FileNotFoundError:
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise UnusableError(f"{path.parent} cannot be written to") from None
        return
    except OSError as error:
        raise UnusableError(str(error)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UnusableError(f"{path} is not a folder of the user of this process; remove it")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnusableError(f"{path} is open to other users; remove it, or run: chmod 700 {path}")


class Folder:
    """The folder ``path``, which is created at first need. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: tuple[str, ...] = ()
        self._changed = self._read = 0

    def names(self) -> tuple[str, ...]:
        """Return the names of the sockets there, in no order. Costs one ``stat`` if nothing has changed."""
        try:
            changed = os.stat(self.path).st_mtime_ns  # noqa: PTH116 - at every publish, and five times as fast
            if changed != self._changed or self._read < changed + SETTLED_NS:
                self._read, self._changed = time.time_ns(), changed
                found = [path.name for path in self.path.iterdir()]
                self._names = tuple(name for name in found if name.endswith(SUFFIX) and name[0] != ".")
        except OSError:
            self._names, self._changed = (), 0
        return self._names

    def listen(self, name: str) -> socket.socket:
        """Create a socket that listens under ``name``. Raises ``OSError`` or :class:`UnusableError`."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._listen(name)
            except FileNotFoundError:
                pass  # the last process that left has removed the folder at this moment
        return self._listen(name)

    def _listen(self, name: str) -> socket.socket:
        check(self.path)
        self.path.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        check(self.path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        early = self.path / f".{name}"
        try:
            made.setblocking(False)
            made.bind(str(early))
            made.listen(BACKLOG)
            # Only now may others find it: they would take a socket that does not listen yet for that of a dead process.
            early.rename(self.path / name)
        except OSError:
            made.close()
            early.unlink(missing_ok=True)
            raise
        return made

    def connect(self, name: str) -> socket.socket:
        """Connect to the process that listens under ``name``, without waiting.

        Raises ``FileNotFoundError`` if it does not listen any more; ``BlockingIOError`` if it accepts nothing at present; or another
        ``OSError``. The socket of a process that is dead is removed.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.connect(str(self.path / name))
        except ConnectionRefusedError as error:
            made.close()
            self.remove(name)
            raise FileNotFoundError(str(self.path / name)) from error
        except OSError:
            made.close()
            raise
        return made

    def remove(self, name: str) -> None:
        """Remove a socket, and the folder with the last one."""
        try:
            (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()
        except OSError:
            pass  # it is not empty, or gone

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def tidy(self, own: str) -> None:
        """Remove the sockets of processes that are dead; ``own`` is the caller's."""
        for name in self.names():
            if name == own:
                continue
            try:
                self.connect(name).close()
            except OSError:
                pass  # gone, or too busy to be dead

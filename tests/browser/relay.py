"""TCP relay between a browser and a server, which can freeze like a bad line: no byte passes, and no connection closes."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Every connection to `url` goes to the server on `target`, as long as the line is not frozen."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.frozen: set[socket.socket] = set()
        self.links: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Hold all bytes of the present connections; later connections work."""
        self.frozen = set(self.links)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # which ends the `accept` of the thread
        self.listener.close()
        for link in self.links:
            with contextlib.suppress(OSError):  # the other end may be gone
                link.shutdown(socket.SHUT_RDWR)  # which ends the `recv` of its thread
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.links |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source in self.frozen:
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(target: int) -> Iterator[Relay]:
    line = Relay(target)
    try:
        yield line
    finally:
        line.close()

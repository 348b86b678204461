"""A real `uvicorn.Server` in a thread, with a loop of its own, on a free port."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import uvicorn

from .frames import frame

WS = "holdfast.server:WebSocketProtocol"
HTTP = "holdfast.server:HttpProtocol"

REQUEST = (
    b"GET %b HTTP/1.1\r\nHost: harbor.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return result


class Running:
    def __init__(self, app: Any, *, uds: Path | None = None, tls: Path | None = None, **config: Any) -> None:
        where: dict[str, Any] = {"uds": str(uds)} if uds is not None else {"port": 0}
        if tls is not None:
            where |= {"ssl_certfile": str(tls), "ssl_keyfile": str(tls)}
        config = {"ws": WS, "http": HTTP, "ws_ping_interval": None, **config}
        self.server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, **where, **config))
        self.uds = uds
        self._thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.server.started or not self._thread.is_alive())
        assert self.server.started
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the server did not stop"

    def stop(self) -> None:
        self.server.should_exit = True

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    def url(self, path: str, scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    @property
    def idle(self) -> bool:
        return not self.server.server_state.connections and not self.server.server_state.tasks

    @contextlib.contextmanager
    def raw(
        self, path: str, headers: bytes = b"", early: bytes = b"", *, receive_buffer: int = 0
    ) -> Iterator["Raw"]:
        """Open a socket and send the upgrade request."""
        with socket.socket(socket.AF_UNIX if self.uds else socket.AF_INET) as plain:
            plain.settimeout(10)
            if receive_buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            plain.connect(str(self.uds) if self.uds else ("127.0.0.1", self.port))
            plain.sendall(REQUEST % (path.encode(), headers) + early)
            yield Raw(plain)


class Raw:
    def __init__(self, plain: socket.socket) -> None:
        self.socket = plain
        self.buffer = b""

    def head(self) -> str:
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._some()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.buffer += self._some()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def frame(self) -> tuple[int, bytes]:
        first, size = self.take(2)
        if size == 126:
            size = int.from_bytes(self.take(2), "big")
        elif size == 127:
            size = int.from_bytes(self.take(8), "big")
        return first & 0xF, self.take(size)

    def send(self, opcode: int, payload: bytes | str = b"") -> None:
        self.socket.sendall(frame(opcode, payload))

    def at_end(self) -> bool:
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _some(self) -> bytes:
        data = self.socket.recv(65536)
        assert data, "the server has closed"
        return data


def certificate(path: Path) -> ssl.SSLContext:
    """Write a key and its certificate for 127.0.0.1 to the file; return what a client needs to trust it."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harbor.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))
    return ssl.create_default_context(cadata=signed.public_bytes(pem).decode())


async def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """:func:`until`, for coroutines."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
    return result

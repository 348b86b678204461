"""A real nginx in front of servers of ours, with the configuration that users copy: ``deploy/nginx/holdfast.conf``."""

import contextlib
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import Server, find_program, free_port, removed_afterwards, start

TEMPLATE = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "holdfast.conf"

_AROUND = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections {files}; }}
http {{
    log_format with_servers '$status $upstream_addr $request_method $request_uri';
    access_log {directory}/access.log with_servers;
    types {{ text/css css; text/javascript js; image/svg+xml svg; }}
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{site}
}}
"""


def site(
    template: str, *, listen: str, servers: Sequence[str], changes: Mapping[str, str] | None = None
) -> str:
    """The template with another place to listen, other servers, and other values of directives.

    A change of what is not in the template is an error: the tests are about the template.
    """
    every: dict[str, str | Callable[[re.Match[str]], str]] = {
        r"(    server [^;{]*;\n)+": lambda found: "".join(
            f"    server {server} {found[1].split(maxsplit=2)[2]}" for server in servers
        ),
        r"listen 80;": f"listen {listen};",
        r"server_name example\.com;": "server_name _;",
    }
    for name, value in (changes or {}).items():
        every[rf"(?<=\b{name} )[^;]+(?=;)"] = value
    for pattern, replacement in every.items():
        template, found = re.subn(pattern, replacement, template)
        if not found:
            raise ValueError(f"{TEMPLATE.name} has nothing that matches {pattern!r}")
    return template


@dataclass(kw_only=True, slots=True)
class Nginx:
    server: Server
    directory: Path
    port: int

    def requests(self) -> list[tuple[int, list[str], str, str]]:
        """Return the requests so far: status, the servers that were asked one after another, method, path."""
        rows = []
        for line in (self.directory / "access.log").read_text().splitlines():
            status, rest = line.split(" ", 1)
            asked, method, path = rest.rsplit(" ", 2)
            rows.append((int(status), re.split(r"\s*[,:] +", asked), method, path))
        return rows

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def running_nginx(
    servers: Sequence[str],
    *,
    port: int | None = None,
    changes: Mapping[str, str] | None = None,
    adapt: Callable[[str], str] = lambda text: text,
    files: int = 8192,
) -> Iterator[Nginx]:
    """Start nginx in front of ``servers`` (``"127.0.0.1:8001"``); ``changes`` are other values of its directives, ``adapt``
    changes the whole text."""
    program = find_program("nginx", package="nginx")
    with removed_afterwards(Path(tempfile.mkdtemp(prefix="holdfast-nginx-", dir="/tmp"))) as directory:
        port = port or free_port()
        text = site(adapt(TEMPLATE.read_text()), listen=f"127.0.0.1:{port}", servers=servers, changes=changes)
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _AROUND.format(
                directory=directory, site=text, files=files, user="user root;" if os.geteuid() == 0 else ""
            )
        )
        command = [program, "-c", configuration, "-p", directory, "-e", "stderr"]
        server = start("nginx", command, directory=directory, dies_by=signal.SIGTERM)
        nginx = Nginx(server=server, directory=directory, port=port)
        try:
            server.wait_until(nginx._listens)
            yield nginx
        finally:
            server.stop()

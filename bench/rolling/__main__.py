"""A release under load: servers behind nginx are replaced one after the other while events are published.

    python -m bench.rolling                                   3 servers, 3,000 clients, 10 s of draining each
    python -m bench.rolling --clients 300 --drain 3           small: does it work?

PostgreSQL holds the log, Redis is the backplane, nginx runs with deploy/nginx/holdfast.conf: all real, started for this and
ended with it. Every client is in one of the rooms and receives its events. Each server gets SIGTERM, drains, ends and is
started again; one second after it serves, the next follows. In the end every client's offsets are compared with the
published events.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.machine import OPEN_FILES, ROOT
from bench.rolling.clients import Client, Tally, beat
from tests.services.nginx import running_nginx
from tests.services.postgres import running_postgres
from tests.services.processes import Server, free_port, start
from tests.services.redis import running_redis

JOINING_AT_ONCE = 50
NGINX_SECONDS = 1.5
"""How long nginx takes to see that a server is back: its `fail_timeout`, and a little."""


@dataclass(frozen=True, kw_only=True)
class Drained:
    """One server's end."""

    connections: int
    planned: float
    """Connections a second."""
    began: float
    seconds: float


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.rolling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=3000)
    parser.add_argument("--rooms", type=int, default=30)
    parser.add_argument("--rate", type=float, default=120, help="events a second, over all rooms")
    parser.add_argument("--drain", type=float, default=10, help="DRAIN_SECONDS")
    return parser.parse_args()


class Fleet:
    """The programs, ended with the stack."""

    def __init__(self, options: argparse.Namespace, directory: Path, stack: ExitStack) -> None:
        postgres = stack.enter_context(running_postgres())
        redis = stack.enter_context(running_redis())
        postgres.create_database("rolling")
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "DJANGO_SETTINGS_MODULE": "bench.rolling.settings",
            "BENCH_POSTGRES": json.dumps(postgres.django("rolling")),
            "BENCH_REDIS": redis.url,
            "BENCH_DRAIN": str(options.drain),
            "PYTHONUNBUFFERED": "1",
        }
        self.directory, self.stack = directory, stack
        subprocess.run(self.manage("migrate", "-v", "0"), env=self.environment, cwd=ROOT, check=True)
        self.ports = [free_port() for _ in range(options.servers)]
        self.servers = [self.serve(port) for port in self.ports]
        for port, server in zip(self.ports, self.servers, strict=True):
            server.wait_until(lambda port=port: listens(port))
        addresses = [f"127.0.0.1:{port}" for port in self.ports]
        self.nginx = stack.enter_context(running_nginx(addresses, files=OPEN_FILES))

    @staticmethod
    def manage(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "django", *arguments]

    def serve(self, port: int) -> Server:
        command = self.manage("holdfast", "serve", "--port", str(port))
        server = start(
            f"serve-{port}-{time.monotonic_ns()}", command, directory=self.directory, env=self.environment
        )
        self.stack.callback(server.stop)
        return server


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def replace_all(fleet: Fleet) -> list[Drained]:
    found = []
    for index, port in enumerate(fleet.ports):
        old, began = fleet.servers[index], time.monotonic()
        old.process.terminate()
        await asyncio.to_thread(old.process.wait, 120)
        ended = time.monotonic()
        said = re.search(r"Draining: (\d+) connections are handed off, (\d+) a second", old.output(last=9999))
        count, planned = (int(group) for group in said.groups()) if said else (0, 0)
        found.append(Drained(connections=count, planned=planned, began=began, seconds=ended - began))
        fleet.servers[index] = fleet.serve(port)
        await asyncio.to_thread(fleet.servers[index].wait_until, lambda port=port: listens(port))
        await asyncio.sleep(NGINX_SECONDS)
        print(f"  server {index + 1}: {count} connections in {ended - began:.1f} s", flush=True)
    return found


def most_in_a_second(times: list[float], since: float, until: float) -> int:
    inside = sorted(at for at in times if since <= at < until)
    most, first = 0, 0
    for last, at in enumerate(inside):
        while inside[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


async def run(options: argparse.Namespace, fleet: Fleet) -> int:
    tally = Tally()
    clients = [
        Client(fleet.nginx.port, f"r{number % options.rooms}", tally) for number in range(options.clients)
    ]
    for begin in range(0, len(clients), JOINING_AT_ONCE):
        several = clients[begin : begin + JOINING_AT_ONCE]
        for client in several:
            client.connect()
        await asyncio.gather(*(client.joined.wait() for client in several))
    print(f"{len(clients)} clients have joined.", flush=True)
    beating = asyncio.create_task(beat(clients, 20))
    publisher = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "bench.rolling.publisher"],
        *["--rate", str(options.rate), "--rooms", str(options.rooms)],
        env=fleet.environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    await asyncio.sleep(3)
    for client in clients:
        client.heard = client.heard or time.monotonic()
        client.watching = True
    drained = await replace_all(fleet)
    await asyncio.sleep(2)
    for client in clients:
        client.watching = False
    output, _ = await publisher.communicate(b"")  # the end of its input
    published = json.loads(output)
    counts = published["counts"]
    deadline = time.monotonic() + 20
    behind = list(clients)
    while behind and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        behind = [client for client in behind if client.offset < counts[int(client.room[1:])]]
    beating.cancel()
    missing = sum(counts[int(client.room[1:])] - client.offset for client in behind)
    return report(options, tally, clients, drained, published, missing)


def at(share: float, values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(
    options: argparse.Namespace,
    tally: Tally,
    clients: list[Client],
    drained: list[Drained],
    published: dict[str, object],
    missing: int,
) -> int:
    counts = published["counts"]
    assert isinstance(counts, list)
    silences = [client.silence for client in clients]
    late = [client.lateness for client in clients]
    ratios = []
    for end in drained:
        most = most_in_a_second(tally.opened, end.began - 0.5, end.began + end.seconds + 1)
        ratios.append(most / end.planned if end.planned else 0.0)
        print(
            f"drained {end.connections} connections in {end.seconds:.1f} s; planned {end.planned:.0f} a second, "
            f"at most {most} came back in one"
        )
    print(
        f"{sum(counts)} events published in {published['seconds']:.0f} s, {sum(counts) * len(clients) // options.rooms} deliveries"
    )
    print(
        f"lost {tally.lost + missing}, doubled {tally.doubled}, positions not honoured {tally.not_recovered}"
    )
    print(
        f"{tally.goodbyes} goodbyes, {tally.dropped} connections dropped without one, {tally.refused} attempts refused"
    )
    print(
        f"longest silence of a client: median {at(0.5, silences):.2f} s, p99 {at(0.99, silences):.2f} s, most {max(silences):.2f} s"
    )
    print(
        f"latest event of a client: median {at(0.5, late):.2f} s, p99 {at(0.99, late):.2f} s, most {max(late):.2f} s"
    )
    wrong = [
        what
        for what, bad in (
            ("events were lost or doubled", tally.lost + missing + tally.doubled + tally.not_recovered > 0),
            ("a second saw more than twice the planned number of reconnections", max(ratios) > 2),
            ("the longest silence at p99 is not under 2 s", at(0.99, silences) >= 2),
        )
        if bad
    ]
    for what in wrong:
        print(f"MISSED: {what}")
    if not wrong:
        print("All goals are met.")
    return 1 if wrong else 0


def main() -> int:
    options = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    with tempfile.TemporaryDirectory(prefix="holdfast-rolling-") as directory, ExitStack() as stack:
        fleet = Fleet(options, Path(directory), stack)
        try:
            import uvloop

            return uvloop.run(run(options, fleet))
        finally:
            for log in Path(directory).glob("*.log"):
                if "Traceback" in log.read_text(errors="replace"):
                    print(log.read_text(errors="replace")[-4000:])


if __name__ == "__main__":
    sys.exit(main())

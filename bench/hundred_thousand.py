"""Very many connections on one machine at once, held by several servers: memory, time to connect, time to reach all.

python -m bench.hundred_thousand                                      100,000 by 7 servers
python -m bench.hundred_thousand --connections 10000 --servers 2

The servers are ``manage.py holdfast serve``, connected by Redis, with their log in SQLite. As many load generators hold
the connections; each of these says hello anonymously and joins one topic, and pings once in a heartbeat, as every client
must. This process publishes the events; it is none of the servers.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import lineup
from bench.generator import compiled
from bench.machine import ROOT, cpu_seconds, described, memory_bytes
from bench.servers import listens
from tests.services.processes import Server, free_port, start
from tests.services.redis import running_redis

EVENTS = 5
HEARTBEAT = 25
PING = '{"type":"ping"}'
CONNECTING = 60
"""Number of handshakes of each load generator that are under way at once."""


class Load:
    """One load generator, with its share of the connections."""

    def __init__(self, program: Path, port: int, members: int) -> None:
        speech = lineup.topic(lineup.ROOM)
        command = [
            str(program), "--port", str(port), "--mode", "audience", "--members", str(members),
            "--path", speech.path, "--say", speech.says[0], "--expect", str(speech.expects),
            "--refusal", speech.refusal, "--ping", PING, "--heartbeat", str(HEARTBEAT), "--concurrency", str(CONNECTING),
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def listen(self, events: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{events}\n")
        self.process.stdin.flush()
        assert self.line() == "listening"

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            sys.exit("a load generator gave up; what it said is above")
        return line

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.line())
        if report["gone"]:
            sys.exit(f"{report['gone']} connections were lost")
        if report["missing"]:
            sys.exit(f"{report['missing']} deliveries are missing")
        return report

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def environment(directory: Path, redis: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bench.hall.settings",
        "BENCH_DATABASE": str(directory / "hall.sqlite3"),
        "BENCH_REDIS": redis,
        "BENCH_LOG": "database",
        "BENCH_FLEET": "yes",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }


@contextlib.contextmanager
def servers(count: int, directory: Path, settings: dict[str, str]) -> Iterator[dict[int, Server]]:
    """Run ``count`` servers; yield them by port."""
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v", "0"], env=settings, cwd=ROOT, check=True)
    with contextlib.ExitStack() as stack:
        running = {}
        for number in range(count):
            port = free_port()
            command = [part.format(python=sys.executable, port=port) for part in lineup.SERVE]
            server = start(f"server-{number}", command, directory=directory, env=settings)
            stack.callback(server.kill)
            running[port] = server
        for port, server in running.items():
            server.wait_until(lambda port=port: listens(port))  # type: ignore[misc]
        yield running


def measure(connections: int, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as temporary, running_redis() as redis:
        directory = Path(temporary)
        program = compiled("load/load.c", directory)
        settings = environment(directory, redis.url)
        with servers(count, directory, settings) as running:
            return _measure(connections, running, program, settings)


def _measure(
    connections: int, running: dict[int, Server], program: Path, settings: dict[str, str]
) -> dict[str, Any]:
    pids = [server.process.pid for server in running.values()]
    publish = _publisher(settings)
    before, free = _memory(pids), _available()
    began, used = time.monotonic(), sum(map(cpu_seconds, pids))
    shares = [connections // len(running) + (n < connections % len(running)) for n in range(len(running))]
    loads = [Load(program, port, share) for port, share in zip(running, shares, strict=True)]
    try:
        joined = [load.report() for load in loads]
        seconds = time.monotonic() - began
        print(f"{sum(report['joined'] for report in joined):,} joined in {seconds:.1f} s", flush=True)
        found = {
            "connections": connections,
            "servers": len(running),
            "joining_seconds": seconds,
            "joining_cpu_us": 1e6 * (sum(map(cpu_seconds, pids)) - used) / connections,
        }
        time.sleep(3)
        found |= {
            "servers_mb": (_memory(pids)) / 1e6,
            "kb_each": (_memory(pids) - before) / connections / 1024,
            "machine_kb_each": (free - _available()) / connections / 1024,
        }
        found["events"] = [_one_event(loads, publish, pids, connections) for _ in range(EVENTS)]
        return found
    finally:
        for load in loads:
            load.end()


def _one_event(loads: list[Load], publish: Any, pids: list[int], connections: int) -> dict[str, float]:
    """Measure the time of an event from before it is published to its arrival at the last of all connections."""
    for load in loads:
        load.listen(1)
    used = sum(map(cpu_seconds, pids))
    publish()
    reports = [load.report() for load in loads]
    event = {
        "all_ms": max(report["max_ms"] for report in reports),
        "half_ms": statistics.median(report["p50_ms"] for report in reports),
        "cpu_us": 1e6 * (sum(map(cpu_seconds, pids)) - used) / connections,
    }
    print(f"an event reached all in {event['all_ms']:.0f} ms", flush=True)
    time.sleep(2)
    return event


def _publisher(settings: dict[str, str]) -> Any:
    """Publishes one event of 128 bytes that carries its time, from this process."""
    os.environ.update(settings)
    import django

    django.setup()
    from bench.hall.live import Hall, Said

    def publish() -> None:
        mark = f"@1:{time.monotonic_ns()}@"
        Hall(room="open").publish(Said(mark.ljust(128, "x")))

    publish()  # what is made at first need is made
    return publish


def _memory(pids: list[int]) -> int:
    return sum(memory_bytes(pid)["pss"] for pid in pids)


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no MemAvailable in /proc/meminfo")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--servers", type=int, default=7)
    chosen = parser.parse_args()
    found = measure(chosen.connections, chosen.servers)
    file = ROOT / "var" / "bench" / "hundred-thousand.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": described(), **found}, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

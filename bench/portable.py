"""Benchmark of deliveries over the portable WebSocket path, beside the same chat as a plain Channels consumer.

    python -m bench.portable                       three runs of each, one in flight and sixteen
    python -m bench.portable --members 100 --seconds 10 --window 4

Both are served by one application (bench/chat) on Uvicorn, with Channels' authentication around them and
channels_redis' pub/sub layer on a real Redis as the channel layer, which is Holdfast's backplane too. Each run starts a
server of its own, pinned to core 0; Redis and the load generator (bench/load/load.c, compiled here) are on core 1. All
connections are members of one room. The first of them posts a message of 128 bytes, and posts the next when its own has
come back, with as many in flight as --window says. CPU is what /proc counts for the server's process between the start
and the end of the measurement. This bench does not measure latency.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.services.processes import free_port  # noqa: E402
from tests.services.redis import running_redis  # noqa: E402

SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
GOAL = 8.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to write the chat, and the messages of its clients."""

    name: str
    path: str
    publish: str
    says: tuple[str, ...] = ()
    expects: int = 1
    """Number of messages that a client receives before it counts as a member."""
    refusal: str = ""
    """What only the answers contain that say no."""


def topic(kind: str) -> Way:
    return Way(
        name=f"Holdfast, {kind}",
        path="/live/ws",
        says=(f'{{"type":"join","ref":0,"topic":"{kind}/lobby"}}',),
        expects=2,
        publish=f'{{"type":"call","topic":"{kind}/lobby","name":"say","payload":{{"body":"%b"}}}}',
        refusal='"type":"error"',
    )


CHANNELS = Way(name="Channels consumer", path="/ws/chat/lobby/", publish='{"body":"%b"}')
WAYS = (CHANNELS, topic("passing"), topic("kept"))


@dataclass(frozen=True, kw_only=True)
class Result:
    deliveries: int
    seconds: float
    cpu: float
    load_busy: float

    @property
    def microseconds(self) -> float:
        """Microseconds of server CPU for each delivery."""
        return 1e6 * self.cpu / self.deliveries

    @property
    def per_cpu_second(self) -> float:
        return self.deliveries / self.cpu


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pinned(core: int, *command: str) -> list[str]:
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def served(directory: Path, *arguments: str, redis: str = "") -> Iterator[tuple[int, int]]:
    """Run Uvicorn with these arguments and an empty database; yield its process id and port."""
    database = directory / f"bench-{time.monotonic_ns()}.sqlite3"
    environment = {
        **os.environ,
        "BENCH_DATABASE": str(database),
        "BENCH_REDIS": redis,
        "DJANGO_SETTINGS_MODULE": "bench.chat.settings",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v", "0"], env=environment, cwd=ROOT, check=True
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", *arguments]
    server = subprocess.Popen(
        pinned(SERVER_CORE, *command, "bench.chat.asgi:application"), env=environment, cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 30
        while not answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        yield server.pid, port
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def run(
    way: Way, options: argparse.Namespace, window: int, load: Path, directory: Path, redis: str
) -> Result:
    with served(directory, "--ws", options.ws, redis=redis) as (pid, port):
        command = [str(load), "--port", str(port), "--path", way.path, "--members", str(options.members)]
        command += [part for said in way.says for part in ("--say", said)]
        command += ["--expect", str(way.expects), "--publish", way.publish, "--payload", str(options.payload)]
        command += ["--refusal", way.refusal] if way.refusal else []
        command += ["--window", str(window), "--seconds", str(options.seconds), "--warmup-ms", "2000"]
        used: dict[str, float] = {}
        with subprocess.Popen(
            pinned(LOAD_CORE, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as generator:
            assert generator.stdin is not None
            assert generator.stdout is not None
            report: dict[str, Any] = {}
            for line in generator.stdout:
                if line.startswith("{"):
                    report = json.loads(line)
                    break
                used[line.strip()] = cpu_seconds(pid)
                generator.stdin.write("\n")
                generator.stdin.flush()
    failures = ("gone", "refused", "unanswered")
    if generator.returncode or any(report[name] for name in failures) or not report["deliveries"]:
        raise SystemExit(f"{way.name}: the run failed: {report or 'what the load generator said is above'}")
    cpu = used["measured"] - used["measure"]
    return Result(
        deliveries=report["deliveries"], seconds=report["seconds"], cpu=cpu, load_busy=report["busy"]
    )


def compiled(directory: Path) -> Path:
    program = directory / "load"
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "bench" / "load" / "load.c"], check=True)
    return program


def show(name: str, window: int, results: list[Result]) -> float:
    """Print one line; return the median of deliveries per second of server CPU."""
    rates = [result.per_cpu_second for result in results]
    costs = sorted(result.microseconds for result in results)
    middle = statistics.median(rates)
    print(
        f"{name:20} {window:6} {middle:12,.0f} {statistics.median(costs):9.1f}   {costs[0]:5.1f} to {costs[-1]:<6.1f}"
        f" {statistics.median(r.deliveries / r.seconds for r in results):10,.0f}"
        f" {statistics.median(r.cpu / r.seconds for r in results):7.0%}"
        f" {max(r.load_busy for r in results):6.0%}",
        flush=True,
    )
    return middle


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--payload", type=int, default=128, help="bytes of an event's body (128)")
    parser.add_argument("--window", type=int, action="append", help="events in flight (1 and 16)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each run measures (5)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ws", default="websockets-sansio", help="Uvicorn's WebSocket implementation")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})  # and so Redis, which is started from here
    missed = False
    print(
        f"{'':20} {'in':>6} {'deliveries':>12} {'µs of':>9}   {'':15} {'deliveries':>10} {'server':>7} {'load':>6}\n"
        f"{'':20} {'flight':>6} {'per CPU s':>12} {'CPU each':>9}   {'(all runs)':15} {'per s':>10} {'busy':>7} {'busy':>6}"
    )
    with tempfile.TemporaryDirectory() as temporary, running_redis() as redis:
        directory = Path(temporary)
        load = compiled(directory)
        for window in options.window or [1, 16]:
            results: dict[str, list[Result]] = {way.name: [] for way in WAYS}
            for _ in range(options.runs):
                for way in WAYS:  # by turns, so that what else happens on the machine happens to all
                    results[way.name].append(run(way, options, window, load, directory, redis.url))
            medians = {name: show(name, window, found) for name, found in results.items()}
            for way in WAYS[1:]:
                times = medians[way.name] / medians[CHANNELS.name]
                print(f"{'':4}{way.name}: {times:.1f} times the Channels consumer")
                missed |= times < GOAL
    print(f"goal: {GOAL:g} times, {'MISSED' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

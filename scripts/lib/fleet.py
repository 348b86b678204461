"""Harbor as a fleet, for `scripts/demo --fleet`: two servers, nginx, Redis, PostgreSQL, a Celery worker and the bots.

Everything listens on this machine only, on free ports but for nginx; Ctrl-C ends it all, by process id, and its data with it.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example"
sys.path.insert(0, str(ROOT))

from tests.services.nginx import running_nginx  # noqa: E402
from tests.services.postgres import running_postgres  # noqa: E402
from tests.services.processes import Server, ServerFailed, free_port, start  # noqa: E402
from tests.services.redis import running_redis  # noqa: E402

SERVERS = 2
SECONDS_TO_END = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo --fleet", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="nginx's. Default: %(default)s")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it with "&" has it ignored
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            print(f"Port {port} is taken; choose another: scripts/demo --fleet --port 8080", file=sys.stderr)
            return 1
    try:
        with ExitStack() as stack:
            run(stack, port)
    except KeyboardInterrupt:
        say("ended")
        return 0
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(stack: ExitStack, port: int) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-")))
    say("starting PostgreSQL and Redis")
    postgres = stack.enter_context(running_postgres())
    redis = stack.enter_context(running_redis())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HARBOR_", "DJANGO_"))},
        "PYTHONPATH": str(ROOT / "src"),
        "HARBOR_DATABASE": postgres.create_database("harbor"),
        "HARBOR_REDIS": redis.url,
        "HARBOR_BOTS": "0",  # once for all servers, in a process of their own
        "HARBOR_VAR": str(directory),
        "PYTHONUNBUFFERED": "1",
    }
    say("migrating and seeding")
    for arguments in (["migrate", "-v", "0"], ["seed"], ["collectstatic", "--noinput", "-v", "0"]):
        manage = [sys.executable, "manage.py", *arguments]
        subprocess.run(manage, cwd=EXAMPLE, env=environment, check=True)

    def harbor(name: str, *command: str) -> Server:
        program = start(name, [sys.executable, *command], directory=directory, env=environment, cwd=EXAMPLE)
        stack.callback(program.stop, seconds=SECONDS_TO_END)
        return program

    say(f"starting {SERVERS} servers, a Celery worker, the bots and nginx")
    ports = [free_port() for _ in range(SERVERS)]
    programs = [
        harbor(f"server-{number}", "manage.py", "holdfast", "serve", "--port", str(each))
        for number, each in enumerate(ports, 1)
    ]
    worker = harbor(
        "celery", *["-m", "celery", "--app", "harbor", "worker", "--concurrency", "1", "--loglevel", "info"]
    )
    bots = harbor("bots", "manage.py", "bots")
    for program, each in zip(programs, ports, strict=True):
        program.wait_until(lambda each=each: listens(each))
    worker.wait_until(lambda: " ready." in worker.output())
    nginx = stack.enter_context(
        running_nginx(
            [f"127.0.0.1:{each}" for each in ports],
            port=port,
            changes={"alias": f"{directory}/static/"},
        )
    )
    say(
        f"http://127.0.0.1:{port}: sign in as ada, grace or linus, password holdfast (Ctrl-C ends everything)"
    )
    named = {
        **{program.name: program for program in programs},
        "celery": worker,
        "bots": bots,
        "nginx": nginx.server,
    }
    for name, program in named.items():
        print(f"    {name:9} process {program.process.pid:7}  {program.log}")
    print(f"    drain one: kill {programs[0].process.pid}      lose one: kill -9 {programs[1].process.pid}")
    watch(named)


def watch(programs: dict[str, Server]) -> None:
    """Wait for Ctrl-C. Name each program that ends: ending one may be the experiment."""
    gone: set[str] = set()
    while len(gone) < len(programs):
        time.sleep(0.5)
        for name, program in programs.items():
            if name not in gone and program.process.poll() is not None:
                gone.add(name)
                say(f"{name} has ended with status {program.process.returncode}")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def say(text: str) -> None:
    print(f"\033[1m==> {text}\033[0m", flush=True)


if __name__ == "__main__":
    sys.exit(main())

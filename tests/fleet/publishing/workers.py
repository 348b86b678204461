"""Processes that publish and have no event loop: ``python -m tests.fleet.publishing.workers <which> …``.

``command``   publishes and ends at once, as a cron command does
``many``      publishes very often from threads, and prints the number of open files and threads before and after
"""

import os
import sys
import threading
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.fleet.project.settings")
django.setup()

from django.db import connections  # noqa: E402

from tests.fleet.project.live import Room, Shouted, Tick, Ticker  # noqa: E402


def command(value: str) -> None:
    Room(room="cron").publish(Shouted(value, time.monotonic()))
    Ticker(symbol="cron").publish(Tick(value, time.monotonic()))


def many(passing: str, durable: str, threads: str) -> None:
    """Prints one line before and one after: open files, and threads."""

    def publish(worker: int, count: int, stored: int) -> None:
        every = max(count // max(stored, 1), 1)
        for number in range(count):
            value = f"{worker}-{number}"
            if number % every == 0:
                Room(room="many").publish(Shouted(value, 0.0))
                connections.close_all()  # as Django and Celery do after each request and task
            Ticker(symbol="many").publish(Tick(value, 0.0))
        connections.close_all()

    def all_at_once(count: int, stored: int) -> None:
        workers = [
            threading.Thread(target=publish, args=(n, count // int(threads), stored // int(threads)))
            for n in range(int(threads))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), flush=True)
        input()

    all_at_once(100, 20)
    all_at_once(int(passing), int(durable))


if __name__ == "__main__":
    {"command": command, "many": many}[sys.argv[1]](*sys.argv[2:])

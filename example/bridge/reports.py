"""Reports of each server, every second while a member of staff watches."""

import asyncio
import os
import time
from pathlib import Path

from holdfast import metrics

from bridge.live import Bridge, ServerReport

NAME = f"{os.uname().nodename}-{os.getpid()}"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SECONDS = 1.0


async def run() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SECONDS
        await asyncio.sleep(SECONDS)
        lag = loop.time() - due  # how much later than asked: what the loop was busy with
        if await Bridge().amember_count():
            await Bridge().apublish(report(lag))


def report(lag: float) -> ServerReport:
    numbers: dict[str, float] = {
        **metrics.snapshot(),
        "lag_ms": round(1000 * lag, 1),
        "cpu_seconds": round(time.process_time(), 2),
        "memory_mb": round(resident_bytes() / 1e6, 1),
    }
    return ServerReport(server=NAME, numbers=numbers)


def resident_bytes() -> int:
    """The memory of this process. Only Linux says; elsewhere 0."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0

"""A process of the run that reads orders from its standard input and answers each with a line."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from .fleet import ROOT


class Orders:
    """Sends orders, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._lock = asyncio.Lock()

    async def say(self, line: str, seconds: float = 60) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock, asyncio.timeout(seconds):
            self._process.stdin.write(f"{line}\n".encode())
            answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{line.split()[0]} was not answered:\n{self._log.read_text()[-3000:]}")
        return answer.decode().strip()

    async def ask(self, order: str, *arguments: object) -> Any:
        return json.loads(await self.say(json.dumps([order, *arguments])))


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of Python."""
    return [sys.executable, "-m", name, *arguments]


@contextlib.asynccontextmanager
async def taking_orders(
    name: str, command: Sequence[str | Path], *, directory: Path, environment: dict[str, str]
) -> AsyncIterator[Orders]:
    """Run a program that takes orders."""
    log = directory / f"{name}.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT, env=environment, limit=1 << 24,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        yield Orders(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

"""scripts/test, interrupted in the middle: it leaves neither a process nor a folder."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# It starts a run of its own, with servers: beside other tests that takes its time.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]


def soon(condition: object, *, seconds: float) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def processes_below(folder: Path) -> list[str]:
    """Return the command lines of processes that work in the folder or name it."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            directory = str((process / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is another user's
        if str(folder) in command or directory.startswith(str(folder)):
            found.append(command)
    return found


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder with a short path: those of UNIX sockets below it may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hf-"))
    folder.chmod(0o711)  # PostgreSQL runs as a user of its own below it
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, scratch: Path, how: signal.Signals) -> None:
    waits = tmp_path / "waits"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    # A shell that starts this test in the background lets it, and all that it starts, ignore SIGINT.
    heeding = ["env", "--default-signal=INT"]
    run = subprocess.Popen(
        [*heeding, "scripts/test", "tests/scripts/waiting.py", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(scratch), "SAYS_THAT_IT_WAITS": str(waits)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        soon(lambda: waits.exists() or run.poll() is not None, seconds=50)
        assert run.poll() is None, run.communicate()[0]
        assert waits.exists()
        assert processes_below(scratch)
        run.send_signal(how)
        run.communicate(timeout=45)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
    assert run.returncode == 128 + how
    assert soon(lambda: not processes_below(scratch), seconds=10), processes_below(scratch)
    assert list(scratch.iterdir()) == []

"""The other files of `deploy/`, as far as they can be tested without the programs that they are for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.conf import Settings
from holdfast.management.serve import SHUTDOWN_SECONDS
from holdfast.server.server import APPLICATION_SECONDS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SERVICES = [DEPLOY / "systemd" / name for name in ("holdfast.service", "holdfast@.service")]


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_systemd_finds_no_mistake_in_the_unit(service: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine")
    for unit in (*SERVICES, DEPLOY / "systemd" / "holdfast.socket"):
        text = unit.read_text().replace("/srv/app/.venv/bin/python", sys.executable)
        (tmp_path / unit.name.replace("@", "@1")).write_text(text)
    done = subprocess.run(
        [program, "verify", tmp_path / service.name.replace("@", "@1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "before"),
    [(path, "TimeoutStopSec=") for path in SERVICES]
    + [(DEPLOY / "docker" / "compose.yaml", "stop_grace_period: ")],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_there_is_time_for_draining(path: Path, before: str) -> None:
    (given,) = [line.split(before)[1] for line in path.read_text().splitlines() if before in line]
    assert float(given.rstrip("s")) > Settings().drain_seconds + SHUTDOWN_SECONDS + APPLICATION_SECONDS

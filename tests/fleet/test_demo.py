"""`scripts/demo --fleet`, from the point on where its environment is there."""

import contextlib
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.services.processes import free_port, start

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(120)  # six processes with Django start one after the other
def test_harbor_runs_as_a_fleet_and_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-u", ROOT / "scripts" / "lib" / "fleet.py", "--port", str(port)]
    demo = start("demo", command, directory=tmp_path)
    try:
        demo.wait_until(lambda: "drain one" in demo.output(), seconds=90)
        processes = [int(pid) for pid in re.findall(r" process +(\d+) ", demo.output())]
        assert len(processes) == 5
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/login/", timeout=10) as page:
            assert b"Harbor" in page.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/static/harbor/harbor.css", timeout=10) as style:
            assert style.headers["Content-Type"] == "text/css"
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(40) == 0
        assert not [pid for pid in processes if _lives(pid)]
    finally:
        demo.stop(seconds=30)
    assert "Traceback" not in demo.output(last=99999)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False

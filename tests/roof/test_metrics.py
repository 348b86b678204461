"""Metrics of a process: the snapshot, its sources, and a forked child."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.test import override_settings

from holdfast import metrics, wiring
from holdfast import runtime as runtimes
from holdfast.log.base import Draft

WATCHED = {
    "backplane_lost",
    "calls_running",
    "connections",
    *(f"connections_{name}" for name in metrics.TRANSPORTS),
    "log_reads",
    "revocations_waiting",
    "roster_reads",
}


@pytest.fixture
def process() -> Iterator[runtimes.Runtime]:
    """The runtime of this process, built from the settings, with nothing in it."""
    with (
        override_settings(HOLDFAST={"LOG": "memory", "BACKPLANE": "memory"}),
        runtimes.using(wiring.build_runtime()),
    ):
        wiring.service()
        yield runtimes.current()


def test_a_snapshot_has_all_counters_and_gauges(process: runtimes.Runtime) -> None:
    found = metrics.snapshot()
    assert set(found) == set(metrics.Counters.__struct_fields__) | WATCHED
    assert set(found) >= metrics.GAUGES


def test_every_value_is_described() -> None:
    described = metrics.snapshot.__doc__ or ""
    assert not [name for name in WATCHED if f"``{name}``" not in described]


def test_the_runtime_raises_the_counters_of_the_process(process: runtimes.Runtime) -> None:
    assert process.counters is metrics.PROCESS


def test_waiting_revocations_are_counted(process: runtimes.Runtime) -> None:
    before = metrics.snapshot()["revocations_waiting"]
    process.control.retry_queue.keep([Draft(topic="t", name="n", payload=b"{}")])
    try:
        assert metrics.snapshot()["revocations_waiting"] == before + 1
    finally:
        process.control.retry_queue.forget()


FORKED = """
import os
from holdfast import metrics

metrics.PROCESS.events_dropped = 3
metrics.watch("connections", lambda: 7)
child = os.fork()
if child == 0:
    os._exit(metrics.snapshot()["events_dropped"] + 10 * ("connections" in metrics.snapshot()))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), metrics.snapshot()["events_dropped"])
"""


def test_a_forked_child_counts_from_zero() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert done.stdout == "0 3\n"

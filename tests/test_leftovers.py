"""The guard against what a test leaves behind names the test that leaves it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.leftovers import WARNS

ROOT = Path(__file__).parents[1]

HEAD = """
import threading
import time

import pytest
from django.db import connections

over = threading.Event()

@pytest.fixture(autouse=True)
def database(django_db_blocker, tmp_path_factory):
    connections.settings["sqlite"]["NAME"] = tmp_path_factory.getbasetemp() / "database"
    with django_db_blocker.unblock():
        yield
"""

CONNECTION_OF_A_THREAD = """
def test_leaver():
    def look():
        connections["sqlite"].ensure_connection()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

def test_victim():
    import gc
    gc.collect()
"""

DROPPED_CONNECTION = """
def test_leaver():
    connections["sqlite"].ensure_connection()
    del connections["sqlite"]

def test_victim():
    import gc
    gc.collect()
"""

THREAD = """
def test_leaver():
    threading.Thread(target=over.wait, daemon=True).start()

def test_victim():
    pass
"""

THREAD_OF_A_FIXTURE = """
@pytest.fixture(scope="module")
def waiting():
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()

def test_first(waiting):
    pass

def test_last(waiting):
    pass
"""

LATE_EXCEPTION = """
def test_leaver():
    def fail():
        over.wait()
        raise ZeroDivisionError

    import concurrent.futures  # whose threads are not started by a line of this file
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(lambda: threading.Thread(target=fail).start() or True).result()
    pool.shutdown()

def test_victim():
    over.set()
    time.sleep(0.2)
"""

CLOSED = """
def test_a_thread_that_closes():
    def look():
        connections["sqlite"].ensure_connection()
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

def test_a_connection_that_stays_with_the_main_thread():
    connections["sqlite"].ensure_connection()
"""


def run(tmp_path: Path, source: str) -> str:
    """Run the tests of ``source`` in a pytest of their own; return what it says."""
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "test_some.py"
    file.write_text(HEAD + source)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\ndjango_find_project = false\n")
    options = ["-q", "-p", "tests.services.leftovers", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--ds", "tests.settings", str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_an_open_connection_of_a_thread_that_has_ended_fails_the_test_that_leaves_it(tmp_path: Path) -> None:
    said = run(tmp_path, CONNECTION_OF_A_THREAD)
    assert ("2 passed, 1 error" in said) is WARNS, said
    assert "tests/test_some.py::test_leaver left a database connection open" in said
    assert 'connections["sqlite"].ensure_connection()' in said
    assert ("ERROR tests/test_some.py::test_leaver" in said) is WARNS


def test_a_connection_that_only_the_garbage_collector_finds_names_the_test_that_leaves_it(
    tmp_path: Path,
) -> None:
    said = run(tmp_path, DROPPED_CONNECTION)
    assert ("2 passed, 1 error" in said) is WARNS, said
    assert "tests/test_some.py::test_leaver left a database connection open" in said
    assert 'connections["sqlite"].ensure_connection()' in said


def test_a_running_thread_fails_the_test_that_leaves_it(tmp_path: Path) -> None:
    said = run(tmp_path, THREAD)
    assert "2 passed, 1 error" in said, said
    assert "tests/test_some.py::test_leaver left a thread that still runs" in said
    assert "ERROR tests/test_some.py::test_leaver" in said


def test_a_late_exception_of_a_thread_names_the_test_that_started_it(tmp_path: Path) -> None:
    said = run(tmp_path, LATE_EXCEPTION)
    assert "started in tests/test_some.py::test_leaver" in said, said


@pytest.mark.parametrize(("source", "passed"), [(THREAD_OF_A_FIXTURE, 2), (CLOSED, 2)])
def test_what_ends_with_its_owner_is_no_leftover(tmp_path: Path, source: str, passed: int) -> None:
    said = run(tmp_path, source)
    assert f"{passed} passed in" in said, said

"""What a process hands over before ``os._exit``, in processes that leave by it."""

import subprocess
import sys

BEGIN = """
import asyncio, os
from holdfast.process import shutdown

class Thing:
    def flush(self, timeout):
        print("flushed", timeout <= shutdown.EXIT_SECONDS, flush=True)
        return True

thing = Thing()
shutdown.flush_at_exit(thing)
"""


def leaving(program: str) -> tuple[int, list[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=30, check=False
    )
    assert not ran.stderr
    return ran.returncode, ran.stdout.split("\n")[:-1]


def test_it_flushes_and_leaves_with_the_status() -> None:
    assert leaving("shutdown.flush_before_os_exit(); os._exit(3)") == (3, ["flushed True"])


def test_a_process_that_hands_nothing_over_in_the_background_leaves_at_once() -> None:
    assert leaving("os._exit(3)") == (3, [])


def test_it_leaves_also_when_flushing_fails() -> None:
    program = "import logging; logging.disable()\nThing.flush = lambda self, timeout: 1 / 0\nshutdown.flush_before_os_exit()\nos._exit(3)"
    assert leaving(program) == (3, [])


def test_a_flush_that_fails_does_not_stop_the_others() -> None:
    program = """
class Failing:
    def flush(self, timeout):
        1 / 0

import logging
logging.disable()
failing = [Failing() for _ in range(20)]  # a set orders them by chance: one of them comes first
for one in failing:
    shutdown.flush_at_exit(one)
shutdown.flush_before_os_exit()
os._exit(3)
"""
    assert leaving(program) == (3, ["flushed True"])


def test_on_an_event_loop_it_leaves_at_once() -> None:
    """What is to be handed over may be waiting for that loop."""
    program = """
async def main():
    os._exit(3)

shutdown.flush_before_os_exit()
asyncio.run(main())
"""
    assert leaving(program) == (3, [])


def test_a_library_that_wraps_it_too_is_left_in_place() -> None:
    program = """
shutdown.flush_before_os_exit()
ours = os._exit

def theirs(status):
    print("theirs", flush=True)
    ours(status)

os._exit = theirs
shutdown.flush_before_os_exit()
os._exit(3)
"""
    assert leaving(program) == (3, ["theirs", "flushed True"])


def test_os_exit_during_the_flush_leaves_at_once() -> None:
    program = """
Thing.flush = lambda self, timeout: os._exit(4)
shutdown.flush_before_os_exit()
os._exit(3)
"""
    assert leaving(program) == (4, [])

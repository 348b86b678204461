"""Type checkers: what mypy reports in a module with topics."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
from typing import Annotated, Any, assert_type
from msgspec import Meta
from holdfast import Caller, Event, Keep, Position, Topic, action, aflush, apublish, flush, publish

class MessagePosted(Event):
    id: int
    body: str = ""

class Typing(Event, durable=False, name="typing.now"):
    author: str

class Room(Topic):
    route = "rooms/<slug:room>"
    events = [MessagePosted, Typing]
    keep = Keep(days=30)
    room: str

    def may_join(self, user: Any) -> bool:
        return True

    @action(rate="5/s")
    def post(self, caller: Caller, body: Annotated[str, Meta(min_length=1)]) -> int:
        self.publish(MessagePosted(1, body), exclude=caller)
        return 1

    @action
    async def typing(self, caller: Caller) -> None:
        await self.apublish(Typing("ada"), exclude="client-1")

async def use_async(room: Room) -> None:
    await apublish([(room, MessagePosted(1))])

async def leave() -> None:
    assert_type(await aflush(5), bool)

def use(room: Room, caller: Caller) -> None:
    assert_type(MessagePosted.decode(b""), MessagePosted)
    assert_type(room.post(caller, body="hi"), int)
    assert_type(room.consistent_read(lambda: [1]), tuple[Position, list[int]])
    assert_type(flush(timeout=5), bool)
    MessagePosted("1")  # E: [arg-type]
    MessagePosted(1).id = 2  # E: [misc]
    publish([(room, MessagePosted(1)), (room, Typing("ada"))], exclude=caller)
    publish((room, MessagePosted(n)) for n in range(3))
    room.publish("hi")  # E: [arg-type]
    publish([room, MessagePosted(1)])  # E: [list-item]
    room.post(caller, body=1)  # E: [arg-type]
    Room(room="lobby").may_join()  # E: [call-arg]
    Keep(30)  # E: [call-arg]
"""


@pytest.mark.slow
def test_type_checkers_find_mistakes_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    expected = {
        (number, line.partition("# E: ")[2])
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "# E: " in line
    }
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            os.devnull,
            "--cache-dir",
            tmp_path,
            program,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "MYPYPATH": str(ROOT / "src")},
    )
    complaints = {
        (int(line.split(":")[1]), line.rpartition("  ")[2])
        for line in ran.stdout.splitlines()
        if line.startswith("program.py:") and ": error: " in line
    }
    assert complaints == expected, ran.stdout + ran.stderr

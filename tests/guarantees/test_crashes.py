"""Processes that are killed while they write: each committed row has its event, and there is no other event."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from holdfast.log.database import DatabaseLog
from holdfast.log.tables import OUTBOX
from holdfast.protocol.positions import Position

from .scratch import rows, scratch_table

ROOT = Path(__file__).resolve().parents[2]
TOPICS = ["crash/0", "crash/1"]


@pytest.fixture
def writable(database: str) -> Iterator[str]:
    with scratch_table(database):
        yield database


def start(alias: str, name: str) -> "subprocess.Popen[str]":
    entry = {key: value for key, value in connections[alias].settings_dict.items() if key != "TEST"}
    command = [sys.executable, "-m", "tests.guarantees.writer", json.dumps(entry, default=str), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(writer: "subprocess.Popen[str]") -> None:
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    time.sleep(random.uniform(0.01, 0.05))
    writer.kill()
    writer.wait(10)
    writer.stdout.close()


def events(log: DatabaseLog) -> list[str]:
    found = []
    for topic, head in log.heads(TOPICS).items():
        entries = log.read(topic, Position(epoch=head.epoch, offset=0), 10**6)
        assert [entry.offset for entry in entries] == list(range(1, head.offset + 1))
        found += [json.loads(entry.payload) for entry in entries]
    return sorted(found)


@pytest.mark.slow
def test_after_kills_and_a_sweep_the_events_are_exactly_what_was_committed(writable: str) -> None:
    log = DatabaseLog(writable)
    for writer in [start(writable, f"writer-{number}") for number in range(6)]:
        kill(writer)
    with connections[writable].cursor() as cursor:
        cursor.execute(f"UPDATE {OUTBOX} SET created_at = '2020-01-01 00:00:00'")
    log.sweep()
    written = rows(writable)
    assert written
    assert events(log) == written

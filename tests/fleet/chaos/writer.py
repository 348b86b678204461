"""A process that writes until it is told to stop: ``python -m tests.fleet.chaos.writer NAME SEED JOURNAL RATE``.

Each transaction writes rows and, with each, an event that says the same; some roll back, some only a savepoint. Before
it begins, the writer records what it is about to do, and afterwards the outcome that it was given.
"""

import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import django

from .records import Ended, Journal, Tried

ROOMS = int(os.environ.get("FLEET_ROOMS", "6"))
TICKERS = 2
PADS = (0, 0, 0, 100, 1000, 4000)


class RollBack(Exception):
    """This transaction was never meant to commit."""


def main(name: str, seed: str, journal: str, rate: str) -> None:
    django.setup()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    writer = Writer(name, random.Random(f"{seed} {name}"), Journal(Path(journal)))
    for number in count():
        if stopping:
            break
        writer.transact(number)
        time.sleep(writer.chance.expovariate(float(rate)))


class Writer:
    def __init__(self, name: str, chance: random.Random, journal: Journal) -> None:
        self.name = name
        self.chance = chance
        self._journal = journal
        self._values = count()

    def transact(self, number: int) -> None:
        """Run one transaction, whatever its outcome."""
        from django.db import DatabaseError, InterfaceError, connection

        parts, savepoint, fails, rolls_back = self._draw()
        together = [*parts, *([] if fails else savepoint)]
        kept, dropped = ([], [*parts, *savepoint]) if rolls_back else (together, savepoint if fails else [])
        at = time.monotonic()
        self._journal.note(Tried(at=at, writer=self.name, number=number, kept=kept, dropped=dropped))
        done: list[bool] = []
        try:
            self._commit(parts, savepoint, done, fails=fails, rolls_back=rolls_back)
            # When the connection is lost while a savepoint rolls back, Django rolls everything back and says nothing.
            outcome = "committed" if done else "unsure"
        except RollBack:
            outcome = "rolled back"
        except (DatabaseError, InterfaceError):
            outcome = "unsure"  # the commit may have been carried out, and its answer lost
            connection.close()
            time.sleep(0.2)
        self._journal.note(Ended(at=time.monotonic(), writer=self.name, number=number, outcome=outcome))

    def _draw(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]], bool, bool]:
        chance = self.chance
        parts = [self._part() for _ in range(chance.choice([1, 1, 2, 3]))]
        savepoint = [self._part()] if chance.random() < 0.4 else []
        return parts, savepoint, chance.random() < 0.5, chance.random() < 0.15

    def _part(self) -> tuple[str, str]:
        if self.chance.random() < 0.2:
            topic = f"tickers/t{self.chance.randrange(TICKERS)}"
        else:
            topic = f"rooms/r{self.chance.randrange(ROOMS)}"
        return topic, f"{self.name}:{next(self._values)}"

    def _commit(
        self,
        parts: list[tuple[str, str]],
        savepoint: list[tuple[str, str]],
        done: list[bool],
        *,
        fails: bool,
        rolls_back: bool,
    ) -> None:
        from django.db import transaction

        with transaction.atomic():
            transaction.on_commit(lambda: done.append(True))
            for topic, value in parts:
                self._say(topic, value)
            if savepoint:
                try:
                    with transaction.atomic():
                        for topic, value in savepoint:
                            self._say(topic, value)
                        if fails:
                            raise RollBack
                except RollBack:
                    pass
            if self.chance.random() < 0.1:
                time.sleep(self.chance.uniform(0, 0.3))
            if rolls_back:
                raise RollBack

    def _say(self, topic: str, value: str) -> None:
        from tests.fleet.project.live import Room, Said, Tick, Ticker
        from tests.fleet.project.models import Fact

        kind, _, place = topic.partition("/")
        at = time.monotonic()
        Fact.objects.create(topic=topic, value=value)
        event: Any
        if kind == "rooms":
            event = Said(value, at, "x" * self.chance.choice(PADS))
            Room(room=place).publish(event)
        else:
            event = Tick(value, at)
            Ticker(symbol=place).publish(event)


if __name__ == "__main__":
    main(*sys.argv[1:])

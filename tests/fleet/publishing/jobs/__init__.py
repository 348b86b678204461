"""One job for every kind of worker: it publishes six events that are stored and six that are not."""

import time

EVENTS = 6


def publish(name: str) -> None:
    """Publish the events, in a process in which Django is set up."""
    from tests.fleet.project.live import Room, Shouted, Tick, Ticker

    for number in range(EVENTS):
        Ticker(symbol=name).publish(Tick(f"{name}-passing-{number}", time.monotonic()))
        Room(room=name).publish(Shouted(f"{name}-stored-{number}", time.monotonic()))


def published(name: str) -> list[str]:
    """The values that the job publishes."""
    return [f"{name}-{kind}-{number}" for kind in ("passing", "stored") for number in range(EVENTS)]

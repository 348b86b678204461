"""Benchmark of the size from which compressing an event is worth its CPU.

python -m bench.compression

An event is compressed once in a process, whatever number of clients gets it. The text is JSON of chat messages whose words
are drawn by chance from this repository's own documentation: what repeats in real text repeats here, and nothing more.
"""

import random
import re
import statistics
import time

import msgspec

from bench.machine import ROOT
from holdfast.server.deflate import Deflate
from holdfast.server.framing import TEXT, encode

SIZES = (64, 128, 256, 512, 1024, 4096, 16384)
EVENTS = 200
ROUNDS = 7


def words() -> list[str]:
    text = " ".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    return re.findall(r"[A-Za-z]{2,}", text)


def messages(size: int, chance: random.Random, vocabulary: list[str]) -> list[bytes]:
    """Events of about ``size`` bytes."""
    made = []
    for offset in range(EVENTS):
        body = ""
        while True:
            event = {
                "type": "event", "topic": "rooms/lobby", "name": "message.posted", "offset": offset,
                "payload": {"id": offset, "author": chance.choice(vocabulary), "body": body},
            }  # fmt: skip
            text = msgspec.json.encode(event)
            if len(text) >= size:
                made.append(text)
                break
            body += chance.choice(vocabulary) + " "
    return made


def main() -> None:
    chance, vocabulary, deflate = random.Random(1), words(), Deflate()
    print("| bytes of JSON | on the wire | saved | µs to compress, once | µs to frame it as it is |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        events = messages(size, chance, vocabulary)
        compressed = [deflate.deflate(event) for event in events]
        plain, small = statistics.mean(map(len, events)), statistics.mean(map(len, compressed))
        squeezing = timed(lambda: [deflate.deflate(event) for event in events])  # noqa: B023 - called right here
        framing = timed(lambda: [encode(TEXT, event) for event in events])  # noqa: B023
        print(f"| {plain:,.0f} | {small:,.0f} | {1 - small / plain:.0%} | {squeezing:.1f} | {framing:.2f} |")


def timed(work: object) -> float:
    """Microseconds for each event, the median of some rounds."""
    assert callable(work)
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - began)
    return 1e6 * statistics.median(rounds) / EVENTS


if __name__ == "__main__":
    main()

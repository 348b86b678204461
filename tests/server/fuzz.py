"""Random frames against the reader: none may crash it, and none may make it grow.

    python -m tests.server.fuzz --frames 1000000 --seed 7

Most frames are nearly right, so that what is behind the first check is reached too. Each connection is cut into random
portions; after its error or its close another one begins. A short run is among the tests.
"""

import argparse
import gc
import random
import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from holdfast.server import framing
from holdfast.server.deflate import Deflate
from holdfast.server.framing import ClientMessage, ProtocolError
from holdfast.server.parser import Parser
from tests.server.frames import frame, portions

MAX_SIZE = 2000
MORE = 2 + 4 + 125  # a control frame between fragments

_DEFLATE = Deflate()


def payload(source: random.Random) -> bytes:
    size = source.choice((0, 0, 1, 5, 20, 100, 125, 126, 200, 1000, 1900, 2100))
    match source.randrange(4):
        case 0:
            return source.randbytes(size)
        case 1:
            return "Grüße, 🌊! ".encode() * (size // 14)
        case 2:
            return _DEFLATE.deflate(source.randbytes(3) * size)
        case _:
            return b"x" * size


def random_frame(source: random.Random, fragmented: bool) -> tuple[bytes, bool]:
    """A frame that fits where it stands more often than not, and whether more fragments may follow."""
    fin = source.random() < 0.7
    kind = source.random()
    if kind < 0.02:
        return source.randbytes(source.randint(1, 40)), fragmented
    if kind < 0.2:
        opcode, fin = source.choice((0x9, 0xA)), True
        body = payload(source)[: source.choice((125, 125, 125, 130))]
    elif kind < 0.21:
        code = source.choice((1000, 1001, 1005, 3000, 4999, 70)).to_bytes(2, "big")
        return frame(0x8, source.choice((b"", code, code + b"bye", code + b"\xff", b"\x01"))), False
    elif kind < 0.23:
        opcode, body = source.randrange(16), payload(source)
    else:
        opcode, body = 0 if fragmented else source.choice((1, 2)), payload(source)
    rsv = 4 if source.random() < 0.2 and opcode in (1, 2) else 0
    if source.random() < 0.005:
        rsv = source.randrange(8)
    mask = None if source.random() < 0.005 else source.randbytes(4)
    length = source.choice((1, 127, 65536, 1 << 40)) if source.random() < 0.005 else None
    more = fragmented if opcode & 0x8 else not fin
    return frame(opcode, body, fin=fin, rsv=rsv, mask=mask, length=length), more


def connection(source: random.Random) -> Iterator[bytes]:
    fragmented = False
    while True:
        data, fragmented = random_frame(source, fragmented)
        if source.random() < 0.005:
            broken = bytearray(data)
            broken[source.randrange(len(broken))] ^= 1 << source.randrange(8)
            data = bytes(broken)
        yield data


class Grown(AssertionError):
    pass


def attack(frames: int, source: random.Random) -> Counter[str]:
    """Feed ``frames`` frames. Return how the connections ended and what was parsed. Raises whatever the parser raises."""
    seen: Counter[str] = Counter()
    while seen["frames"] < frames:
        parser = Parser(MAX_SIZE, _DEFLATE if source.random() < 0.7 else None)
        one_by_one = source.random() < 0.5
        closed = seen["opcode 8"]
        for data in connection(source):
            seen["frames"] += 1
            try:
                for part in [data] if one_by_one else portions(data, source):
                    _count(seen, parser.feed(part))
                    if parser.held > MAX_SIZE + MORE:
                        raise Grown(f"{parser.held} bytes held, {MAX_SIZE} are allowed")
            except ProtocolError as error:
                _count(seen, error.before)
                seen[f"{error.code.name}: {error.reason}"] += 1
                break
            if seen["opcode 8"] > closed or seen["frames"] >= frames:
                break
    return seen


def _count(seen: Counter[str], messages: list[ClientMessage]) -> None:
    for message in messages:
        seen[f"opcode {message.opcode}"] += 1
        assert len(message.data) <= max(MAX_SIZE, 125)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--frames", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = arguments.parse_args()
    print(f"{given.frames:,} frames, --seed {given.seed}")
    source = random.Random(given.seed)
    total: Counter[str] = Counter()
    attack(min(given.frames, 20_000), source)  # what is made once is made now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    while total["frames"] < given.frames:
        total += attack(min(50_000, given.frames - total["frames"]), source)
        if sys.stderr.isatty():
            print(f"\r{total['frames']:,}", end="", file=sys.stderr)
    seconds = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for what, count in total.most_common():
        print(f"{count:>10,}  {what}")
    print(f"{seconds:.0f} s; the process grew by {grown} KB")
    if grown > 4096:
        raise SystemExit("it grew")


def grows_by(frames: int, source: random.Random) -> int:
    """Bytes that the server's code and this one's hold after so many frames. Other threads of the process do not count."""
    attack(500, source)
    mine = [
        tracemalloc.Filter(True, f"{directory}/*")
        for directory in (Path(framing.__file__).parent, Path(__file__).parent)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        attack(frames, source)
        gc.collect()
        kept = tracemalloc.take_snapshot().filter_traces(mine)
    finally:
        tracemalloc.stop()
    return sum(one.size for one in kept.statistics("filename"))


if __name__ == "__main__":
    main()

"""Mutated bytes against the reader of frames, and mutated messages against the session.

    scripts/fuzz --seconds 60                 both, guided by coverage if atheris is installed (`pip install atheris`)
    scripts/fuzz session --runs 200000        one of them, for so many inputs

Without atheris, inputs are mutated at random from the corpus, without guidance. An input that fails is printed and stored beside
the corpus; committed there, it becomes a test.
"""

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.protocol import codes
from holdfast.protocol.codec import JSON, MSGPACK, BadMessage, Codec
from holdfast.protocol.effects import Admit, Authenticate, Effect, Hangup, Perform, Send
from holdfast.protocol.frames import ErrorPayload, GoodbyeFrame, JoinedPayload, WelcomeFrame
from holdfast.protocol.limits import Limits
from holdfast.protocol.server_protocol import Phase, ServerProtocol
from holdfast.server.deflate import DEFLATE
from holdfast.server.framing import OVERSIZED, ClientMessage, ProtocolError
from holdfast.server.parser import Pace, Parser

CORPUS = Path(__file__).parent / "corpus"

MAX_SIZE, KEEP = 4000, 1000
HEADER = 14

SEPARATOR = b"\n--\n"
"""Between the messages of an input for the session."""

Target = Callable[[bytes], None]


# ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(parser: Parser, portions: Iterator[bytes]) -> tuple[list[ClientMessage], str]:
    messages: list[ClientMessage] = []
    try:
        for portion in portions:
            messages += parser.feed(portion)
            while parser.more:
                messages += parser.feed(b"")
            held = parser.held
            assert held <= KEEP + HEADER + 125, f"{held} bytes held"
    except ProtocolError as error:
        return messages + error.before, f"{error.code} {error.reason}"
    return messages, ""


def frames(data: bytes) -> None:
    """Read the bytes at once and in portions. Both must give the same messages and the same error."""
    if not data:
        return
    deflate, step = (DEFLATE if data[0] & 1 else None), 1 + data[0] // 2
    pace = Pace(at_once=1000, per_turn=1 + data[0] % 7)
    data = data[1:]

    def parser() -> Parser:
        return Parser(MAX_SIZE, deflate, keep=KEEP, pace=pace, clock=lambda: 0.0)

    portions = (data[at : at + step] for at in range(0, len(data), step))
    divided, whole = _read(parser(), portions), _read(parser(), iter([data]))
    assert divided == whole, f"{divided} is not {whole}"
    for message in whole[0]:
        assert len(message.data) <= (0 if message.opcode == OVERSIZED else KEEP)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Driver:
    """Carries out what a session asks for, as a connection does, and checks what holds for every session."""

    def __init__(self, codec: Codec, decisions: int) -> None:
        self.codec = codec
        self.decisions = random.Random(decisions)
        limits = Limits(message_bytes=4096, topics=5, calls=3, messages_per_second=10, burst=20)
        self.session = ServerProtocol(id="s", user="7", codec=codec, limits=limits, now=0.0)
        self.now = 0.0
        self.welcomed = self.ended = False
        self.running: list[Perform] = []

    def receive(self, data: str | bytes) -> None:
        self.now += self.decisions.choice((0.0, 0.01, 1.0))
        self.carry_out(self.session.receive(data, self.now))
        if self.running and self.decisions.random() < 0.5:
            call = self.running.pop(0)
            self.carry_out(self.session.performed(call.ref, b'{"done":true}'))

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.ended, f"{effect} after the end"
            match effect:
                case Send():
                    assert self.codec.encode(effect.frame)
                    welcome = isinstance(effect.frame, WelcomeFrame)
                    assert welcome is not self.welcomed or not welcome
                    self.welcomed = self.welcomed or welcome
                    assert self.welcomed or isinstance(effect.frame, GoodbyeFrame)
                case Admit():
                    self._admit(effect)
                case Authenticate():
                    self._authenticate(effect)
                case Perform():
                    self._perform(effect)
                case Hangup():
                    self.ended = True
                    assert self.session.phase is Phase.CLOSED
        assert 0 <= self.session.calls <= 3

    def _admit(self, effect: Admit) -> None:
        if self.decisions.random() < 0.3:
            self.carry_out(self.session.refused(effect.ref, effect.topic, codes.FORBIDDEN))
        elif self.session.admitted(effect.topic, effect.topic.lower()[:3] or "x"):
            joined = self.session.joined(
                effect.ref, effect.topic, effect.topic.lower()[:3] or "x", JoinedPayload()
            )
            self.carry_out(joined)
        else:
            self.carry_out(self.session.refused(effect.ref, effect.topic, codes.ALREADY_JOINED))

    def _authenticate(self, effect: Authenticate) -> None:
        if self.decisions.random() < 0.5:
            self.carry_out(self.session.authenticated("7", effect.ref))
        else:
            self.carry_out(self.session.not_authenticated(effect.ref))

    def _perform(self, effect: Perform) -> None:
        try:
            arguments = self.codec.payload(effect.payload)
        except BadMessage as bad:
            payload = ErrorPayload(code=bad.code.name, message=bad.detail)
            self.carry_out(self.session.failed(effect.ref, effect.topic, payload))
            return
        if arguments:
            json.loads(arguments)
        self.running.append(effect)


def session(data: bytes) -> None:
    """Let a session receive the messages of one client."""
    if not data:
        return
    codec: Codec = MSGPACK if data[0] & 1 else JSON
    driver = _Driver(codec, data[0])
    for message in data[1:].split(SEPARATOR):
        if codec is MSGPACK or data[0] & 2:
            driver.receive(message)
        else:
            driver.receive(message.decode("utf-8", "surrogateescape"))


TARGETS: dict[str, Target] = {"frames": frames, "session": session}


# ── inputs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def corpus(name: str) -> list[bytes]:
    """Return the committed inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(seeds: list[bytes], source: random.Random) -> bytes:
    """Return an input that resembles one of the seeds."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.choice((1, 1, 2, 4, 8))):
        at = source.randrange(len(data) + 1)
        match source.randrange(6):
            case 0:
                data[at:at] = source.randbytes(source.choice((1, 2, 4, 40)))
            case 1:
                del data[at : at + source.choice((1, 2, 10, 100))]
            case 2 if data:
                data[at % len(data)] ^= 1 << source.randrange(8)
            case 3:
                other = source.choice(seeds)
                start = source.randrange(len(other))
                data[at:at] = other[start : start + source.choice((5, 50, 500))]
            case 4:
                data[at:at] = source.choice(
                    (b"[", b'"', b"\\ud800", b"\0", b"1e999", b"\xff", b"9" * 30)
                ) * source.choice((1, 70))
            case _ if data:
                data[at % len(data)] = source.choice((0, 1, 0x7E, 0x7F, 0x80, 0xFF))
    return bytes(data[:20_000])


def run(name: str, *, runs: int, seconds: float, seed: int) -> tuple[int, int]:
    """Mutate without guidance. Return how many inputs and bytes were tried."""
    source, seeds, target = random.Random(seed), corpus(name), TARGETS[name]
    end, tried, size = time.monotonic() + seconds, 0, 0
    while tried < runs and time.monotonic() < end:
        data = mutated(seeds, source)
        try:
            target(data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise
        tried, size = tried + 1, size + len(data)
    return tried, size


def guided(name: str, *, runs: int, seconds: float, seed: int, work: Path) -> int:
    """Let atheris, in its own process, find inputs that reach new code. Return its exit status."""
    work.mkdir(parents=True, exist_ok=True)
    options = [f"-runs={runs}", f"-max_total_time={int(seconds)}", f"-seed={seed}"]
    options += ["-max_len=20000", "-rss_limit_mb=1000", f"-artifact_prefix={work}/"]
    command = [sys.executable, "-m", "tests.attacks.guided", name, *options, str(work), str(CORPUS / name)]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    parser: Any = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=[*TARGETS], nargs="?", help="Default: both, one after the other.")
    parser.add_argument("--runs", type=int, default=1 << 30, help="Inputs to try.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--plain", action="store_true", help="Mutate without guidance.")
    parser.add_argument(
        "--work", type=Path, default=Path(".fuzz"), help="Where new inputs go. Default: .fuzz"
    )
    given = parser.parse_args()
    has_atheris = importlib.util.find_spec("atheris") is not None and not given.plain
    for name in [given.target] if given.target else TARGETS:
        print(f"{name}: --seed {given.seed}{'' if has_atheris else ', without guidance'}", flush=True)
        how = {"runs": given.runs, "seconds": given.seconds, "seed": given.seed}
        if has_atheris:
            if status := guided(name, work=given.work / name, **how):
                sys.exit(status)
        else:
            tried, size = run(name, **how)
            print(f"{tried:,} inputs, {size:,} bytes: no failure")


if __name__ == "__main__":
    main()

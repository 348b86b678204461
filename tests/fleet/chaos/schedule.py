"""Schedule of faults, as a pure function of a seed: the same seed and size give the same schedule on any machine."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

CALM_BEFORE = 2.0
CALM_AFTER = 1.0
"""Seconds at the start and the end of a schedule in which nothing begins."""


class Fault(Enum):
    """The kinds of faults, with the duration of those that last."""

    KILL_SERVER = "kill server"
    PAUSE_SERVER = "pause server"
    DEPLOY = "deploy"
    KILL_WRITER = "kill writer"
    PAUSE_WRITER = "pause writer"
    KILL_REDIS = "kill redis"
    PAUSE_REDIS = "pause redis"
    EMPTY_REDIS = "empty redis"
    DISCONNECT_REDIS = "disconnect redis"
    RESTART_POSTGRES = "restart postgres"
    DISCONNECT_POSTGRES = "disconnect postgres"
    KILL_NGINX = "kill nginx"
    DROP = "drop connections"
    HALVE = "cut in the middle"
    DELAY = "delay"
    BLACK_HOLE = "black hole"
    REFUSE = "refuse connections"
    EVICT = "evict"
    LOGOUT = "log out"
    DISCONNECT = "disconnect user"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One fault. ``target`` names a process or a link, ``seconds`` is how long it lasts, ``amount`` how much (a delay's
    seconds, the share of connections that are dropped)."""

    at: float
    fault: Fault
    target: str
    seconds: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        amount = f" ({self.amount:.2f})" if self.amount else ""
        return f"{self.at:6.2f}  {self.fault.value} {self.target}{lasting}{amount}"


@dataclass(frozen=True, kw_only=True)
class Size:
    """The parts that faults may hit."""

    servers: int = 3
    writers: int = 3
    users: int = 20
    topics: int = 6
    redis: bool = True
    revocation: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    seed: int
    seconds: float
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join(str(step) for step in self.steps)


WEIGHTS = {
    Fault.KILL_SERVER: 5,
    Fault.PAUSE_SERVER: 4,
    Fault.DEPLOY: 1,
    Fault.KILL_WRITER: 5,
    Fault.PAUSE_WRITER: 2,
    Fault.KILL_REDIS: 3,
    Fault.PAUSE_REDIS: 2,
    Fault.EMPTY_REDIS: 1,
    Fault.DISCONNECT_REDIS: 2,
    Fault.RESTART_POSTGRES: 2,
    Fault.DISCONNECT_POSTGRES: 2,
    Fault.KILL_NGINX: 1,
    Fault.DROP: 5,
    Fault.HALVE: 4,
    Fault.DELAY: 3,
    Fault.BLACK_HOLE: 3,
    Fault.REFUSE: 2,
    Fault.EVICT: 5,
    Fault.LOGOUT: 2,
    Fault.DISCONNECT: 2,
}

ON_LINKS = (Fault.DROP, Fault.HALVE, Fault.DELAY, Fault.BLACK_HOLE, Fault.REFUSE)
ON_REDIS = (Fault.KILL_REDIS, Fault.PAUSE_REDIS, Fault.EMPTY_REDIS, Fault.DISCONNECT_REDIS)
ON_USERS = (Fault.EVICT, Fault.LOGOUT, Fault.DISCONNECT)

DEPLOY_SECONDS = 8.0
"""Set aside for a deploy: while it runs no server is killed or paused."""


def make(seed: int, seconds: float, size: Size, *, mean_gap: float = 0.9) -> Schedule:
    """Faults one after the other at random distances; several may be under way, but never two on one target."""
    return Schedule(seed=seed, seconds=seconds, steps=tuple(_steps(seed, seconds, size, mean_gap)))


def _steps(seed: int, seconds: float, size: Size, mean_gap: float) -> Iterator[Step]:
    chance = random.Random(f"holdfast {seed}")
    possible = {
        fault: weight
        for fault, weight in WEIGHTS.items()
        if (size.redis or fault not in ON_REDIS) and (size.revocation or fault not in ON_USERS)
    }
    free_at: dict[str, float] = {}
    at, last = CALM_BEFORE, seconds - CALM_AFTER
    while (at := at + chance.expovariate(1 / mean_gap)) < last:
        fault = chance.choices(list(possible), list(possible.values()))[0]
        step = _draw(chance, fault, at, last, size)
        targets = [f"server-{n}" for n in range(size.servers)] if fault is Fault.DEPLOY else [step.target]
        if all(free_at.get(target, 0.0) <= at for target in targets):
            busy = step.seconds + 1.0
            free_at.update(dict.fromkeys(targets, at + busy))
            yield step


def _draw(chance: random.Random, fault: Fault, at: float, last: float, size: Size) -> Step:
    """Every draw takes the same numbers from ``chance``, so that a fault left out of one schedule shifts no other."""
    server, writer = chance.randrange(size.servers), chance.randrange(size.writers)
    user, topic = chance.randrange(size.users), chance.randrange(size.topics)
    kind, length, amount = chance.random(), chance.random(), chance.random()
    left = max(last - at, 0.1)
    if fault in (Fault.KILL_SERVER, Fault.PAUSE_SERVER):
        return Step(at=at, fault=fault, target=f"server-{server}", seconds=min(0.5 + 6 * length**2, left))
    if fault is Fault.DEPLOY:
        return Step(at=at, fault=fault, target="servers", seconds=min(DEPLOY_SECONDS, left))
    if fault in (Fault.KILL_WRITER, Fault.PAUSE_WRITER):
        return Step(at=at, fault=fault, target=f"writer-{writer}", seconds=min(0.2 + 2 * length, left))
    if fault in (Fault.KILL_REDIS, Fault.PAUSE_REDIS):
        return Step(at=at, fault=fault, target="redis", seconds=min(0.3 + 4 * length, left))
    if fault in (Fault.EMPTY_REDIS, Fault.DISCONNECT_REDIS):
        return Step(at=at, fault=fault, target="redis")
    if fault is Fault.RESTART_POSTGRES:
        return Step(at=at, fault=fault, target="postgres", seconds=min(0.1 + length, left))
    if fault is Fault.DISCONNECT_POSTGRES:
        return Step(at=at, fault=fault, target="postgres")
    if fault is Fault.KILL_NGINX:
        return Step(at=at, fault=fault, target="nginx", seconds=min(0.1 + length, left))
    if fault in ON_USERS:
        where = f" rooms/r{topic}" if fault is Fault.EVICT else ""
        return Step(at=at, fault=fault, target=f"user-{user}{where}", seconds=min(1.5 + 4 * length, left))
    return _on_link(fault, at, left, _link(kind, server, writer, size), length, amount)


def _link(kind: float, server: int, writer: int, size: Size) -> str:
    if kind < 0.45:
        return f"web-{server}"
    if kind < 0.7 and size.redis:
        return f"redis-{server}"
    return f"postgres-{server}" if kind < 0.9 else f"postgres-w{writer}"


def _on_link(fault: Fault, at: float, left: float, link: str, length: float, amount: float) -> Step:
    if fault is Fault.DROP:
        return Step(at=at, fault=fault, target=link, amount=0.3 + 0.7 * amount)
    if fault is Fault.HALVE:
        return Step(
            at=at, fault=fault, target=link, seconds=min(0.2 + length, left), amount=0.3 + 0.7 * amount
        )
    if fault is Fault.DELAY:
        return Step(
            at=at, fault=fault, target=link, seconds=min(1 + 4 * length, left), amount=0.02 + 0.6 * amount**2
        )
    return Step(at=at, fault=fault, target=link, seconds=min(0.5 + 5 * length**2, left))

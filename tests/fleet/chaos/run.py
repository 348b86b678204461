"""One run: a fleet, a crowd, a schedule, and the verdict."""

import asyncio
import contextlib
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.client.node_client import node_command

from .checker import Case, Kind, Violation, check
from .client import Character, Way
from .crowd import Plan
from .fleet import DATABASE, ROOT, Fleet, Services, Setup
from .injector import Injector
from .orders import Orders, module, taking_orders
from .records import Answered, Asked, Got, Injected, Journal, Opened, Record, Truth, read
from .schedule import Schedule, Size, make

CROWDS = 2
NODE = "crowd-node"
NODE_CROWD = Path(__file__).with_name("node_crowd.mjs")
NODE_CARRIERS = ("node-websocket", "node-sse", "node-polling", "node-any")
"""What carries the browser client's messages; ``any`` is the first that gets through at each attempt."""

NODE_EACH = 8
"""One client in so many is the browser client."""

ARRIVAL_SECONDS = 2.5
PATIENCE_SECONDS = 25.0

LIMIT_SECONDS = 240.0
"""Time that a run may take beside its schedule, before it is given up."""

BEGINNING = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", re.MULTILINE)
REST_SECONDS = 5.0
"""Time after which no member of a killed server is listed any more: 1.5 leases, and a little. Messages that should not
arrive have arrived by then."""

AWAY = re.compile(r"^ ERROR channels_redis|^(django\.db\.utils\.\w+|[\w.]+LogUnavailable): ", re.MULTILINE)
TROUBLE = re.compile(r"Traceback|was never awaited|Task was destroyed|Exception ignored|never retrieved")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run. ``mean_gap`` is the mean time between two faults, in seconds; ``calls_per_second`` is what
    each client makes that makes calls at all; ``patience`` is how many seconds the clients may take to get to the end of
    every topic once all is well again; ``rest`` is how many seconds of silence follow."""

    seed: int = 1
    seconds: float = 30.0
    clients: int = 120
    mean_gap: float = 0.9
    calls_per_second: float = 0.1
    patience: float = PATIENCE_SECONDS
    rest: float = REST_SECONDS
    setup: Setup = field(default_factory=Setup)

    def schedule(self) -> Schedule:
        size = Size(
            servers=self.setup.servers,
            writers=self.setup.writers,
            users=self.users,
            topics=self.setup.rooms,
            redis=self.setup.backplane != "none",
            revocation=revocation_is_there(),
        )
        return make(self.seed, self.seconds, size, mean_gap=self.mean_gap)

    @property
    def users(self) -> int:
        """Some have several devices."""
        return max(self.clients // 3, 1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run. ``counts`` are its totals, ``trouble`` the errors in the servers' logs."""

    options: Options
    schedule: Schedule
    directory: Path
    began: float
    violations: list[Violation]
    counts: dict[str, int]
    trouble: dict[str, int]
    records: list[Record]

    @property
    def by_kind(self) -> Counter[Kind]:
        return Counter(violation.kind for violation in self.violations)

    @property
    def faults(self) -> Counter[str]:
        """The injected faults, by kind."""
        return Counter(record.kind for record in self.records if isinstance(record, Injected))


def revocation_is_there() -> bool:
    """Return whether this version of Holdfast can revoke access."""
    import holdfast

    return hasattr(holdfast, "disconnect")


def presence_topics(setup: Setup) -> frozenset[str]:
    """The topics with presence. Without Redis each server knows its own members only, and warns of it at its start."""
    there = setup.backplane != "none"
    return frozenset(f"rooms/r{number}" for number in range(setup.rooms)) if there else frozenset()


async def run(options: Options, services: Services, parent: Path) -> Outcome:
    """Carry a schedule out, and check it. The run's journals and logs stay in a directory below ``parent``.

    Raises the error that keeps it from a verdict; :class:`TimeoutError` when that takes :data:`LIMIT_SECONDS` more than the
    schedule.
    """
    async with asyncio.timeout(options.seconds + LIMIT_SECONDS):
        return await _run(options, services, directory_of(options, parent))


def directory_of(options: Options, parent: Path) -> Path:
    return parent / "-".join(filter(None, ["seed", str(options.seed), options.setup.sabotage]))


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


async def _run(options: Options, services: Services, directory: Path) -> Outcome:
    _empty(directory)
    services.postgres.drop_database(DATABASE)
    services.postgres.create_database(DATABASE, template=services.template)
    services.redis.flush()
    schedule = options.schedule()
    (directory / "schedule").write_text(f"{schedule}\n")
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(
            Fleet(options.setup, services, directory, options.seed).standing()
        )
        bailiff = await stack.enter_async_context(
            taking_orders(
                "bailiff", module("tests.fleet.chaos.bailiff", str(directory / "bailiff.jsonl")),
                directory=directory, environment=fleet.direct,
            )
        )  # fmt: skip
        users = await bailiff.ask("migrate", options.users + options.clients)
        for server in fleet.servers:
            server.start()
        fleet.nginx.start()
        for server in fleet.servers:
            await server.wait_until_ready()
        crowds = [
            await stack.enter_async_context(_crowd(fleet, name, plan, directory))
            for name, plan in _plans(options, fleet).items()
        ]
        await asyncio.sleep(ARRIVAL_SECONDS)
        for writer in fleet.writers:
            writer.start()
        began = time.monotonic()
        journal = Journal(directory / "faults.jsonl")
        stack.callback(journal.close)
        injector = Injector(fleet, bailiff, users, journal)
        await injector.carry_out(schedule)
        await _come_to_rest(fleet, bailiff, crowds, directory / "truth.json", options.rest)
    return _judge(options, schedule, directory, began)


# ── the crowd ────────────────────────────────────────────────────────────────────────────────────────────────────────


def characters(options: Options) -> list[Character]:
    """The clients of the crowd. Each eighth is Holdfast's browser client.

    Of the others, each seventh reads rarely, each fifth speaks MessagePack, and each third makes calls, of which each second is
    hasty. Of the rest one in four reads an event stream and one in four polls. Each user has about three devices; but each ninth
    is a guest with one device, who leaves for good when its connection is first lost.
    """
    rooms, made = options.setup.rooms, []
    for number in range(options.clients):
        topics = {f"rooms/r{number % rooms}", f"rooms/r{(number // rooms + 2 * number) % rooms}"}
        if number % 4 == 0:
            topics.add(f"tickers/t{number // 4 % 2}")
        in_node = _in_node(number)
        guest = number % 9 == 5 and not in_node
        character = Character(
            client=f"c{number:03}",
            user=f"user-{options.users + number if guest else number % options.users}",
            topics=sorted(topics),
            slow=number % 7 == 3 and not guest and not in_node,
            guest=guest,
            hasty=number % 6 == 0 or (in_node and number // NODE_EACH % 3 == 0),
            msgpack=number % 5 == 1 and _carrier(number) == "websocket",
            carrier=_carrier(number),
            calls_per_second=options.calls_per_second if in_node or (number % 3 == 0 and not guest) else 0.0,
        )
        made.append(character)
    return made


def _carrier(number: int) -> str:
    if _in_node(number):
        return NODE_CARRIERS[number // NODE_EACH % len(NODE_CARRIERS)]
    if number % 3 == 0 or number % 7 == 3 or number % 9 == 5:
        return "websocket"  # only a WebSocket is read rarely, makes calls, or is left for good
    return {1: "stream", 3: "polling"}.get(number % 4, "websocket")


def _in_node(number: int) -> bool:
    return number % NODE_EACH == NODE_EACH - 2


def _plans(options: Options, fleet: Fleet) -> dict[str, Plan]:
    servers = range(options.setup.servers)
    direct = [Way(name=f"web-{n}", port=fleet.proxies[f"web-{n}"].port, server=n) for n in servers]
    upstreams = {f"127.0.0.1:{way.port}": way.server for way in direct}
    ways = [*direct, *[Way(name="nginx", port=fleet.nginx_port)] * (2 * len(direct))]
    everyone = characters(options)
    in_node = [character for character in everyone if character.carrier in NODE_CARRIERS]
    others = [character for character in everyone if character.carrier not in NODE_CARRIERS]
    crowds = {f"crowd-{number}": others[number::CROWDS] for number in range(CROWDS)}
    return {
        name: Plan(
            characters=crowd,
            ways=ways,
            upstreams=upstreams,
            journal=str(fleet.directory / f"{name}.jsonl"),
            patience=options.patience,
            arrive_within=ARRIVAL_SECONDS,
        )
        for name, crowd in {**crowds, NODE: in_node}.items()
    }


def _crowd(
    fleet: Fleet, name: str, plan: Plan, directory: Path
) -> contextlib.AbstractAsyncContextManager[Orders]:
    path = directory / f"plan-{name}.json"
    path.write_bytes(msgspec.json.encode(plan))
    command = module("tests.fleet.chaos.crowd", str(path)) if name != NODE else node_command(NODE_CROWD, path)
    return taking_orders(name, command, directory=directory, environment=fleet.direct)


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _come_to_rest(
    fleet: Fleet, bailiff: Orders, crowds: list[Orders], truth: Path, rest: float
) -> None:
    """Stop writing, let all users in, and give the clients time to get to the end of every topic."""
    for node in (*fleet.servers, fleet.nginx):
        node.start()
    await asyncio.gather(*[writer.terminate(10) for writer in fleet.writers])
    await bailiff.ask("pardon")
    await asyncio.gather(*[crowd.say("hush") for crowd in crowds])
    heads = await bailiff.ask("curtain", fleet.setup.rooms)
    order = f"catch-up {msgspec.json.encode(heads).decode()}"
    answers = await asyncio.gather(*[crowd.say(order) for crowd in crowds])
    if any(answer != "catch-up 0" for answer in answers):
        for server in fleet.servers:
            server.show_stacks()
    await asyncio.sleep(rest)
    await asyncio.gather(*[crowd.say("finish") for crowd in crowds])
    await bailiff.ask("truth", str(truth))


def _judge(options: Options, schedule: Schedule, directory: Path, began: float) -> Outcome:
    truth = msgspec.json.decode((directory / "truth.json").read_bytes(), type=Truth)
    records = list(read(sorted(directory.glob("*.jsonl"))))
    slow = frozenset(character.client for character in characters(options) if character.slow)
    case = Case.of(truth, records, presence_topics=presence_topics(options.setup), slow=slow)
    return Outcome(
        options=options,
        schedule=schedule,
        directory=directory,
        began=began,
        violations=check(case),
        counts=_counts(case, records),
        trouble=trouble(directory),
        records=records,
    )


def _counts(case: Case, records: list[Record]) -> dict[str, int]:
    kinds = Counter(type(record) for record in records)
    outcomes = Counter(end.outcome for end in case.ends)
    return {
        "committed": outcomes["committed"],
        "rolled back": outcomes["rolled back"],
        "unsure": outcomes["unsure"],
        "log entries": sum(log.head for log in case.truth.logs.values()),
        "deliveries": kinds[Got],
        "connections": kinds[Opened],
        "sendings": kinds[Asked],
        "answers": kinds[Answered],
        "faults": kinds[Injected],
        "revocations": len(case.revocations),
    }


def trouble(directory: Path) -> dict[str, int]:
    """Count, by file, the messages that do not belong into a server's log even when everything around it breaks.

    ``channels_redis`` logs a traceback whenever Redis leaves it, and so does a handshake that needs a database that is
    away: these are what broke.
    """
    found = {}
    for log in sorted(directory.glob("server-*.log")):
        messages = BEGINNING.split(log.read_text(errors="replace"))
        count = sum(bool(TROUBLE.search(text)) and not AWAY.search(text) for text in messages)
        if count:
            found[str(log.relative_to(ROOT)) if log.is_relative_to(ROOT) else str(log)] = count
    return found

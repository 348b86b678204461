"""Break a fleet by a schedule that follows from a seed, and check what everybody saw.

scripts/chaos                          one schedule, of a seed that it prints
scripts/chaos --seed 7                 that one (again)
scripts/chaos --seed 1 --schedules 50  the seeds 1 to 50
scripts/chaos --seed 7 --show          what would go wrong when, without doing it

What was seen and logged is kept in var/chaos/. The exit status is 1 if a promise was broken.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter

import msgspec
import uvloop

from tests.fleet.project.sabotage import BREAKS

from .checker import Kind
from .fleet import ROOT, Services, Setup
from .report import line, timeline
from .run import Options, Outcome, run

BACKPLANES = ("redis", "channels-pubsub", "channels-core", "none")
RESULTS = ROOT / "var" / "chaos"
DAPHNE_EACH = 4
"""Each fourth seed has Daphne as its last server."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, help="of the first schedule; a random one by default")
    add("--schedules", type=int, default=1, help="how many, with the seeds that follow (%(default)s)")
    add("--seconds", type=float, default=30, help="how long faults are injected in each (%(default)s)")
    add("--servers", type=int, default=3, help="(%(default)s)")
    add("--writers", type=int, default=3, help="processes that commit rows with their events (%(default)s)")
    add("--clients", type=int, default=300, help="(%(default)s)")
    add("--gap", type=float, default=0.9, help="mean seconds between two faults (%(default)s)")
    add("--backplane", choices=BACKPLANES, default=BACKPLANES[0], help="(%(default)s)")
    add(
        "--sabotage",
        choices=BREAKS,
        metavar="NAME",
        default="",
        help=f"break a promise on purpose: {', '.join(BREAKS)}",
    )
    add("--show", action="store_true", help="print the schedules, and do nothing")
    add("--stop", action="store_true", help="at the first schedule that breaks a promise")
    return parser.parse_args()


def options_of(chosen: argparse.Namespace, seed: int) -> Options:
    setup = Setup(
        servers=chosen.servers,
        writers=chosen.writers,
        backplane=chosen.backplane,
        sabotage=chosen.sabotage,
        daphne=seed % DAPHNE_EACH == 0,
    )
    return Options(
        seed=seed, seconds=chosen.seconds, clients=chosen.clients, mean_gap=chosen.gap, setup=setup
    )


def main() -> int:
    chosen = arguments()
    first = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    seeds = range(first, first + chosen.schedules)
    if chosen.show:
        for seed in seeds:
            print(f"seed {seed}\n{options_of(chosen, seed).schedule()}\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    broken: list[int] = []
    totals: Counter[str] = Counter()
    kinds: Counter[Kind] = Counter()
    began = time.monotonic()
    for seed in seeds:
        with Services.running() as services:
            outcome = uvloop.run(run(options_of(chosen, seed), services, RESULTS))
        tell(outcome)
        totals.update(outcome.counts)
        kinds.update(outcome.by_kind)
        if outcome.violations:
            broken.append(seed)
            if chosen.stop:
                break
    if chosen.schedules > 1:
        print(f"\n{chosen.schedules} schedules in {(time.monotonic() - began) / 60:.0f} minutes")
        print("  " + ", ".join(f"{count:,} {name}" for name, count in totals.items()))
        print("  " + ", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind))
    if broken:
        print(
            f"\npromises were broken with {'seeds' if len(broken) > 1 else 'seed'} {', '.join(map(str, broken))}"
        )
    return 1 if broken else 0


def tell(outcome: Outcome) -> None:
    print(line(outcome), flush=True)
    for log, count in outcome.trouble.items():
        print(f"  {count} times trouble in {log}")
    if outcome.violations:
        print(*timeline(outcome), sep="\n", flush=True)
    result = {
        "seed": outcome.options.seed,
        "seconds": outcome.options.seconds,
        "counts": outcome.counts,
        "violations": [str(violation) for violation in outcome.violations],
    }
    (outcome.directory / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))


if __name__ == "__main__":
    sys.exit(main())

"""Break a fleet by a schedule that follows from a seed, and check what every client saw.

scripts/chaos                          one schedule, of a seed that it prints
scripts/chaos --seed 7                 that one (again)
scripts/chaos --seed 1 --schedules 50  the seeds 1 to 50
scripts/chaos --seed 7 --show          what would go wrong when, without doing it

The records and logs of the runs stay in var/chaos/, with a table of all runs in summary.md. The exit status is 1 if a
promise was broken, or if a schedule could not be judged. In both cases the next schedule is carried out.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.fleet.project.sabotage import BREAKS

from .fleet import ROOT, Services, Setup
from .report import line, timeline
from .run import Options, Outcome, directory_of, run
from .summary import Summary, commit

BACKPLANES = ("redis", "channels-pubsub", "channels-core", "none")
RESULTS = ROOT / "var" / "chaos"
SUMMARY = "summary.md"
ASKED_TO_END = (signal.SIGTERM, signal.SIGINT)
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
    add("--keep", type=Path, default=RESULTS, metavar="DIR", help="for histories and logs (%(default)s)")
    add("--show", action="store_true", help="print the schedules, and do nothing")
    add("--stop", action="store_true", help="at the first schedule that breaks a promise or is not judged")
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
    _heed(_end)
    command = " ".join(["scripts/chaos", *sys.argv[1:]])
    chosen.keep.mkdir(parents=True, exist_ok=True)
    summary = Summary(command=command, commit=commit())
    began = time.monotonic()
    for seed in seeds:
        carry_out(options_of(chosen, seed), chosen.keep, summary)
        summary.seconds = time.monotonic() - began
        (chosen.keep / SUMMARY).write_text(summary.markdown())
        if chosen.stop and not summary.is_good:
            break
    if chosen.schedules > 1:
        print(f"\n{summary.markdown()}\n(also in {chosen.keep / SUMMARY})")
    return 0 if summary.is_good else 1


def _heed(handler: Callable[[int, object], None]) -> None:
    for number in ASKED_TO_END:
        signal.signal(number, handler)


def _end(number: int, _: object) -> None:
    """Let everything that was started end, and ignore further signals until then."""
    _heed(lambda *_: None)
    sys.exit(128 + number)


def judged(options: Options, keep: Path) -> Outcome:
    """One schedule, on services of its own."""
    with Services.running() as services:
        asked: list[int] = []
        try:
            return uvloop.run(_unless_asked_to_end(run(options, services, keep), asked))
        except asyncio.CancelledError:
            sys.exit(128 + asked[0] if asked else 1)
        finally:
            _heed((lambda *_: None) if asked else _end)


async def _unless_asked_to_end(work: Coroutine[Any, Any, Outcome], asked: list[int]) -> Outcome:
    """Cancel the task on a signal. An exception from the signal's handler may be raised in a loop at a place that swallows it."""
    task = asyncio.create_task(work)

    def end(number: int) -> None:
        if not asked:
            asked.append(number)
            task.cancel()

    for number in ASKED_TO_END:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    return await task


def carry_out(options: Options, keep: Path, summary: Summary) -> None:
    """Carry out one schedule. An error that keeps it from a verdict is printed, and kept beside the run's logs."""
    try:
        outcome = judged(options, keep)
    except Exception as error:
        summary.failed(options.seed, error)
        directory = directory_of(options, keep)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "not-judged.txt").write_text("".join(traceback.format_exception(error)))
        print(
            f"seed {options.seed}: not judged: {summary.unjudged[options.seed]}\n  more of it is in {directory}",
            flush=True,
        )
    else:
        summary.add(outcome)
        tell(outcome)


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

"""Measure Holdfast beside its peers, on this machine, in one run.

scripts/bench                            everything; takes most of an hour
scripts/bench --quick                    everything, small: does it work?
scripts/bench --only fanout memory       some workloads
scripts/bench --peer holdfast floor ws   some peers
scripts/bench --publish FILE             write docs/benchmarks.md and its plots from a result

Servers run on core 0, the load on core 1. Results go to var/bench/, which git ignores.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from bench import connections, durable, fanout, lineup, machine, page, terminal
from bench.figures import Scale, Table, refused
from bench.progress import Progress
from bench.servers import surroundings

RESULTS = machine.ROOT / "var" / "bench"
WORKLOADS = {
    "fanout": fanout.fanout,
    "memory": connections.memory,
    "arrivals": connections.arrivals,
    "calls": connections.calls,
    "latency": fanout.latency,
    "stalled": fanout.stalled,
    "storm": connections.storm,
    "publish": durable.publish,
    "endurance": fanout.endurance,
}
STEPS = {"stalled": 2, "storm": 2, "endurance": 1}
"""Number of peers of the workloads that do not have all."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100 members, one run of one second")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    keys = [peer.key for peer in lineup.PEERS]
    parser.add_argument("--peer", nargs="+", choices=keys, metavar="NAME", help=", ".join(keys))
    parser.add_argument("--runs", type=int, help="runs of each, by turns (3)")
    parser.add_argument("--seconds", type=float, help="how long each measures (5)")
    parser.add_argument(
        "--publish", type=Path, metavar="FILE", help="write the documentation from this result"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.publish:
        return page.publish(options.publish)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and folders go too
    machine.settle_in()
    about = machine.described()
    peers = tuple(peer for peer in lineup.PEERS if not options.peer or peer.key in options.peer)
    scale = Scale(
        quick=options.quick,
        runs=options.runs or (1 if options.quick else 3),
        seconds=options.seconds or (1 if options.quick else 5),
        peers=peers,
    )
    names = options.only or list(WORKLOADS)
    progress = Progress(
        sum(1 if name == "publish" else scale.runs * STEPS.get(name, len(peers)) for name in names)
    )
    results = RESULTS / f"{about['begun'].replace(':', '')}{'-quick' if options.quick else ''}.json"
    tables: dict[str, Table] = {}
    others: dict[str, float] = {}
    about["others"] = others
    with surroundings({peer.needs for peer in peers}) as around:
        for name in names:
            others[name] = machine.busy()
            if others[name] > machine.QUIET:
                progress.note(
                    f"{name}: other programs use {others[name]:.0%} of this machine: its figures will not hold."
                )
            watch = machine.Watch()
            tables[name] = WORKLOADS[name](around, scale, progress)
            others[name] = max(others[name], watch.others())
            save(results, about, scale, tables)  # so that what is cut short keeps what it has
            progress.end()
            terminal.show(tables[name])
    if not scale.quick:
        terminal.judge(tables)
    print(f"\nWritten to {results.relative_to(machine.ROOT)}")
    refusals = list(refused(tables.values()))
    for refusal in refusals:
        print(f"FAILED: {refusal}", file=sys.stderr)
    return 1 if refusals else 0


def save(file: Path, about: dict[str, object], scale: Scale, tables: dict[str, Table]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": about,
        "scale": {"quick": scale.quick, "runs": scale.runs, "seconds": scale.seconds},
        "tables": [table.as_json() for table in tables.values()],
    }
    file.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    sys.exit(main())

"""Benchmark of the time to open each room of Harbor on a phone with a slow line.

    python -m bench.rooms              every room, five times, as Markdown
    python -m bench.rooms --runs 1 /race/ /bridge/

Harbor runs behind nginx with the configuration that users copy (deploy/nginx/holdfast.conf). The phone is
tests/browser/slow_phone.py: a processor four times slower, 150 ms for each request and answer, 1.6 Mbit/s. Each room is
opened with an empty cache, and then again with what the first visit left in it. The quickest of the runs, since whatever
else the machine does only adds to them. Ends with status 1 if a room is not usable within a second.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.browser.chromium import launched
from tests.browser.harbor import Harbor, manage, person
from tests.browser.slow_phone import VIEWPORT, Opening, SlowPhone
from tests.browser.test_rooms import ROOMS
from tests.services.nginx import running_nginx
from tests.services.processes import find_chromium

GOAL = 1_000
"""Milliseconds until a room is usable, with an empty cache."""


def measured(directory: Path, rooms: Sequence[str], runs: int) -> dict[str, list[tuple[Opening, Opening]]]:
    """Each room's openings, with an empty cache and with a full one."""
    seeded, place = directory / "seeded", directory / "harbor"
    for folder in (seeded, place):
        folder.mkdir()
    manage(seeded, "migrate", "--verbosity", "0")
    manage(seeded, "seed")
    harbor = Harbor(place, seeded / "harbor.sqlite3")
    harbor.manage("collectstatic", "--noinput", "--verbosity", "0")
    harbor.start()
    chromium = find_chromium()
    try:
        with (
            running_nginx([f"127.0.0.1:{harbor.port}"], changes={"alias": f"{place}/static/"}) as nginx,
            launched(chromium) as browser,
        ):
            harbor.url = f"http://127.0.0.1:{nginx.port}"
            with person(browser, harbor, "ada", viewport=VIEWPORT, is_mobile=True, has_touch=True) as ada:
                ada.sign_in()
                phone = SlowPhone(ada.page)
                return {
                    room: [
                        (phone.open(f"{harbor.url}{room}"), phone.open(f"{harbor.url}{room}", empty=False))
                        for _ in range(runs)
                    ]
                    for room in rooms
                }
    finally:
        harbor.stop()


def row(room: str, openings: Sequence[tuple[Opening, Opening]]) -> str:
    first, again = zip(*openings, strict=True)

    def seconds(of: Sequence[Opening], name: str) -> str:
        return f"{min(getattr(each, name) for each in of) / 1000:.2f} s"

    one = first[0]
    return (
        f"| `{room}` | {one.page_bytes / 1000:.1f} KB | {one.code_bytes / 1000:.1f} KB | {seconds(first, 'painted')} | "
        f"{seconds(first, 'usable')} | {seconds(again, 'usable')} | {max(each.shifts for each in first):.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.rooms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rooms", nargs="*", default=ROOMS, metavar="ROOM")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-rooms-") as directory:
        found = measured(Path(directory), options.rooms, options.runs)
    print("| room | HTML | scripts and styles | first paint | usable | usable, second visit | layout shift |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for room, openings in found.items():
        print(row(room, openings))
    late = [room for room, openings in found.items() if min(first.usable for first, _ in openings) > GOAL]
    if late:
        raise SystemExit(f"not usable within a second: {', '.join(late)}")


if __name__ == "__main__":
    main()

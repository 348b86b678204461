"""The pictures of `scripts/picture rooms`: each room of Harbor as its how-to shows it, in light and in dark."""

import argparse
import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.harbor import Harbor, Person, manage, person  # noqa: E402
from tests.services.processes import find_chromium  # noqa: E402

LARGEST = 80_000
"""Bytes that a picture may have."""

WINDOW = {"width": 1120, "height": 700}
QUALITIES = (88, 80, 70, 60)
NOW = datetime(2026, 7, 3, 17, 30, tzinfo=UTC)
"""When the pictures are taken, as far as their readers can see."""

# All that the seeds wrote is moved by one span of time, so the pages show the same times on every day.
MOVED = f"""
from datetime import datetime
from django.utils import timezone
from chat.models import Message, Room
from logbook.models import Comment, Entry
from notices.models import Notice
from orders.models import Order, State, advance
from django.contrib.auth.models import User
from django.db import transaction
from orders.models import Product

grace = User.objects.get(username="grace")
Message.objects.create(room=Room.objects.get(slug="lobby"), author=grace, body="I'll bring the long cable, then.")
for name, steps in (("Fender, large", 0), ("Storm lantern", 1), ("Mooring line, 20 m", 2)):
    with transaction.atomic():
        order = Order.objects.create(customer=grace, product=Product.objects.get(name=name))
    for _ in range(steps):
        with transaction.atomic():
            advance(order.pk)
span = datetime.fromisoformat("{NOW.isoformat()}") - timezone.now()
for model in (Message, Comment, Entry, Order, Notice):
    for each in model.objects.all():
        model.objects.filter(pk=each.pk).update(at=each.at + span)
"""

Companions = Callable[[str], Person]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A room as `visitor` sees it; `stage` does what has to happen first, by the hands of others too."""

    name: str
    path: str
    visitor: str
    stage: Callable[[Page, Companions], None] = lambda page, companions: None
    bots: bool = False
    motion: bool = False


def talk(page: Page, companions: Companions) -> None:
    companions("grace").enter()
    linus = companions("linus").enter()
    expect(page.locator("#here")).to_have_text("3")
    linus.draft.press_sequentially("And I the ro")
    expect(page.locator("#typing")).to_contain_text("linus")
    page.locator("#body").blur()


def write_together(page: Page, companions: Companions) -> None:
    grace = companions("grace")
    grace.sign_in()
    grace.page.goto(page.url)
    expect(grace.page.locator("#text")).to_be_editable()
    grace.page.locator("#text").evaluate(
        "text => { const at = text.value.indexOf('Knots for beginners'); text.focus(); text.setSelectionRange(at, at + 19); }"
    )
    linus = companions("linus")
    linus.sign_in()
    linus.page.goto(page.url)
    expect(linus.page.locator("#text")).to_be_editable()
    linus.page.locator("#text").evaluate(
        "text => { const at = text.value.indexOf('- a sign'); text.focus(); text.setSelectionRange(at, at); }"
    )
    linus.page.keyboard.type("- Linus does\n")
    expect(page.locator("#writers li")).to_have_count(2)
    expect(page.locator("#text")).to_have_value(re.compile("- Linus does"))


def sail(page: Page, companions: Companions) -> None:
    page.wait_for_timeout(31_000)  # as long as the chart shows


def watch(page: Page, companions: Companions) -> None:
    for name in ("grace", "linus"):
        someone = companions(name)
        someone.sign_in()
        someone.page.goto(page.url.replace("/bridge/", "/race/"))
        someone.context.new_page().goto(page.url.replace("/bridge/", "/rooms/lobby/"))
    page.wait_for_timeout(40_000)


PICTURES = [
    Picture(name="chat", path="/rooms/lobby/", visitor="ada", stage=talk),
    Picture(name="orders", path="/orders/", visitor="grace"),
    Picture(name="notices", path="/notices/", visitor="grace"),
    Picture(name="logbook", path="/logbook/1/", visitor="ada"),
    Picture(name="pad", path="/pads/open-harbour/", visitor="ada", stage=write_together),
    Picture(name="race", path="/race/", visitor="ada", stage=sail, bots=True, motion=True),
    Picture(name="bridge", path="/bridge/", visitor="ada", stage=watch, bots=True),
]


@contextlib.contextmanager
def harbor_at(directory: Path, seeded: Path, *, bots: bool) -> Iterator[Harbor]:
    directory.mkdir()
    harbor = Harbor(directory, seeded)
    harbor.changes["HARBOR_BOTS"] = "1" if bots else "0"
    harbor.start()
    try:
        yield harbor
    finally:
        harbor.stop()


def taken(picture: Picture, scheme: str, browser: Browser, harbor: Harbor) -> Image.Image:
    with contextlib.ExitStack() as stack:

        def arrives(name: str, **options: Any) -> Person:
            options = {"viewport": WINDOW, "locale": "en-GB", "timezone_id": "UTC", **options}
            return stack.enter_context(person(browser, harbor, name, **options))

        visitor = arrives(
            picture.visitor,
            color_scheme=scheme,
            reduced_motion="no-preference" if picture.motion else "reduce",
        )
        visitor.sign_in()
        if not picture.bots:  # which stamp what they publish with the time that it really is
            visitor.page.clock.set_fixed_time(NOW)
        visitor.page.goto(f"{harbor.url}{picture.path}")
        visitor.is_online()
        picture.stage(visitor.page, arrives)
        shot = visitor.page.screenshot(animations="disabled", caret="hide")
        return Image.open(io.BytesIO(shot)).convert("RGB")


def saved(image: Image.Image, target: Path) -> int:
    """Write the picture as well as its size allows."""
    for quality in QUALITIES:
        image.save(target, quality=quality, method=6)
        if (size := target.stat().st_size) <= LARGEST:
            return size
    raise SystemExit(f"{target} has {size:,} bytes, and may have {LARGEST:,}.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/picture rooms", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "docs" / "rooms")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in PICTURES])
    options = parser.parse_args()
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    chromium = find_chromium()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        seeded = Path(temporary) / "seeded"
        seeded.mkdir()
        manage(seeded, "migrate", "--verbosity", "0")
        manage(seeded, "seed")
        manage(seeded, "shell", "-c", MOVED)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for picture in PICTURES:
            if options.only and picture.name not in options.only:
                continue
            for scheme in ("light", "dark"):
                place = Path(temporary) / f"{picture.name}-{scheme}"
                with harbor_at(place, seeded / "harbor.sqlite3", bots=picture.bots) as harbor:
                    image = taken(picture, scheme, browser, harbor)
                target = directory / f"{picture.name}-{scheme}.webp"
                print(f"wrote {target}: {saved(image, target):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()

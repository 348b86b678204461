"""The film of `scripts/picture`: its scenes, and the GIF that is made from its frames."""

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.harbor import Harbor, Person, manage, person  # noqa: E402
from tests.services.processes import find_chromium  # noqa: E402

LARGEST = 600_000
"""Bytes that the GIF may have: it is the first thing that the README loads."""

WINDOW = {"width": 470, "height": 470}
CAPTION, GAP = 40, 10
COLOURS = 64
PAPER, INK, FAINT, ALARM, FINE = (236, 240, 242), (32, 42, 50), (110, 122, 130), (176, 42, 42), (20, 108, 92)


class Film:
    """Both windows side by side under a caption, frame by frame."""

    def __init__(self, *people: Person) -> None:
        self.people = people
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []
        self.font = ImageFont.load_default(size=19)

    def shot(self, caption: str, milliseconds: int, colour: tuple[int, int, int] = INK) -> None:
        """Add a frame of both windows as they are now."""
        width = len(self.people) * WINDOW["width"] + GAP
        frame = Image.new("RGB", (width, CAPTION + WINDOW["height"]), PAPER)
        draw = ImageDraw.Draw(frame)
        draw.text((width / 2, CAPTION / 2), caption, colour, self.font, anchor="mm")
        for number, each in enumerate(self.people):
            shown = Image.open(io.BytesIO(each.page.screenshot(animations="disabled", caret="hide")))
            left = number * (WINDOW["width"] + GAP)
            draw.text((left + 16, CAPTION / 2), each.name.title(), FAINT, self.font, anchor="lm")
            frame.paste(shown, (left, CAPTION))
        self.frames.append(frame)
        self.milliseconds.append(milliseconds)

    def types(self, who: Person, text: str, caption: str, colour: tuple[int, int, int] = INK) -> None:
        """Film a message being typed, a few letters at a time, and sent."""
        for letters in (text[start : start + 7] for start in range(0, len(text), 7)):
            who.draft.press_sequentially(letters)
            self.shot(caption, 130, colour)
        who.draft.press("Enter")

    def write(self, target: Path) -> None:
        # One palette for all frames, so that the GIF stores only what changes from one to the next.
        strip = Image.new("RGB", (self.frames[0].width, sum(frame.height for frame in self.frames)))
        for number, frame in enumerate(self.frames):
            strip.paste(frame, (0, number * frame.height))
        palette = strip.quantize(COLOURS, dither=Image.Dither.NONE)
        first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        first.save(
            target, save_all=True, append_images=rest, duration=self.milliseconds, loop=0, optimize=False
        )


def record(film: Film, harbor: Harbor, ada: Person, grace: Person) -> None:
    """Act the scenes. Each step waits until both pages show it."""
    said = len(harbor.stored())

    calm = "Two users, one server"
    film.shot(calm, 900)
    film.types(ada, "Shall we cast off?", calm)
    grace.sees("Shall we cast off?")
    film.shot(calm, 900)
    film.types(grace, "Aye. Lines are in.", calm)
    ada.sees("Aye. Lines are in.")
    film.shot(calm, 1200)

    killed = "kill -9: the server is gone"
    harbor.kill()
    for each in (ada, grace):
        expect(each.page.get_by_role("status")).to_have_text("Reconnecting")
    film.shot(killed, 1800, ALARM)
    for text in ("Did anyone hear a bang?", "I will just keep typing."):
        film.types(ada, text, killed, ALARM)
        expect(ada.pending.filter(has_text=text)).to_contain_text("Waiting for the connection")
        film.shot(killed, 900, ALARM)
    film.types(grace, "Me too.", killed, ALARM)
    expect(grace.pending).to_have_count(1)
    film.shot(killed, 1500, ALARM)

    harbor.start()
    film.shot("The server starts again …", 900)
    for each in (ada, grace):
        each.is_online()
        each.wait_for(lambda each=each: not each.pending.count(), "no message to wait any more")  # type: ignore[misc]
        for text in ("Did anyone hear a bang?", "I will just keep typing.", "Me too."):
            each.sees(text)
    film.shot("… and nothing was lost, doubled or reordered", 4500, FINE)

    stored = harbor.stored()[said:]
    assert len(stored) == 5, stored
    for each in (ada, grace):
        assert each.shown()[-5:] == stored, (each.shown(), stored)
        each.complaints.clear()  # Chromium's own, about the server that was away


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/picture", description="Record docs/outage.gif.")
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "docs" / "outage.gif")
    target: Path = parser.parse_args().target
    chromium = find_chromium()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        seeded, place = Path(temporary) / "seeded", Path(temporary) / "harbor"
        for folder in (seeded, place):
            folder.mkdir()
        manage(seeded, "migrate", "--verbosity", "0")
        manage(seeded, "seed")
        harbor = Harbor(place, seeded / "harbor.sqlite3")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            harbor.start()
            with (
                person(browser, harbor, "ada", viewport=WINDOW) as ada,
                person(browser, harbor, "grace", viewport=WINDOW) as grace,
            ):
                for each in (ada, grace):
                    each.enter()
                film = Film(ada, grace)
                record(film, harbor, ada, grace)
        finally:
            browser.close()
            harbor.stop()
    film.write(target)
    size = target.stat().st_size
    if size > LARGEST:
        print(f"{target} has {size:,} bytes, and may have {LARGEST:,}.", file=sys.stderr)
        return 1
    print(f"wrote {target}: {len(film.frames)} frames, {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

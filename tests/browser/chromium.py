"""Chromium, for tests that drive a page."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

LEAN = Path(__file__).with_name("chromium.sh")

expect.set_options(timeout=15_000)


@contextmanager
def launched(program: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=LEAN, args=FLAGS, env={**os.environ, "CHROMIUM": str(program)}
        )
        yield browser
        browser.close()

"""A line that froze: no message passes, and neither side sees the connection close."""

import time

from playwright.sync_api import expect

from tests.browser.conftest import People
from tests.browser.harbor import Harbor
from tests.browser.relay import relay


def test_a_message_on_a_frozen_line_is_sent_on_another_one_within_seconds(
    people: People, harbor: Harbor
) -> None:
    grace = people("grace").enter()
    with relay(harbor.port) as line:
        direct, harbor.url = harbor.url, line.url
        ada = people("ada").enter()
        harbor.url = direct
        line.freeze()
        frozen = time.monotonic()
        ada.say("Is the line still there?")
        expect(grace.message("Is the line still there?")).to_be_visible(timeout=20_000)
        assert time.monotonic() - frozen > 8, "a call that waits for a moment is no reason to doubt the line"
        expect(ada.pending).to_have_count(0)
        assert [body for _, body in harbor.stored()].count("Is the line still there?") == 1

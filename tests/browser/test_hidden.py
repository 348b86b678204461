"""A tab whose timers are held back, on servers that see WebSocket's pongs and on servers that do not.

Chromium runs the timers of a hidden tab once a minute. It begins to do so after one to five minutes, and no flag makes that
certain, so the page here holds its timers back itself; its messages come as Chromium delivers them.
"""

import base64
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.asgi_servers.servers import GENEROUS, SERVERS, Prepared, running

BUNDLE = Path(__file__).resolve().parents[2] / "src/holdfast/static/holdfast/holdfast.js"
CLIENT = f"import('data:text/javascript;base64,{base64.b64encode(BUNDLE.read_bytes()).decode()}')"

KINDS = [kind for kind in SERVERS if kind.name in ("holdfast", "uvicorn-sansio")]
HEARTBEAT = 4
"""Seconds. A client that is silent for 2.5 times as long is closed."""

CONNECT = f"""() => {CLIENT}.then(({{ connect }}) => {{
    const timer = window.setTimeout;
    window.setTimeout = (run, ms) => timer(run, Math.max(ms, 60_000));
    window.statuses = [];
    window.live = connect();
    live.on("status", (status, {{ error }}) => statuses.push(error ? `${{status}} ${{error.code}}` : status));
    live.topic("rooms/lobby");
}})"""


@pytest.mark.timeout(120)
def test_a_tab_whose_timers_run_once_a_minute_keeps_its_connection(browser: Browser, tmp_path: Path) -> None:
    prepared = Prepared.make(tmp_path)
    context = browser.new_context()
    with ExitStack() as stack:
        stack.callback(context.close)
        tabs = []
        for kind in KINDS:
            settings = {**GENEROUS, "HEARTBEAT_SECONDS": HEARTBEAT}
            server = stack.enter_context(running(kind, prepared, tmp_path / kind.name, holdfast=settings))
            tab = context.new_page()
            tab.goto(f"{server.origin}/me/")
            tab.evaluate(CONNECT)
            tabs.append(tab)
        time.sleep(4.5 * HEARTBEAT)  # real time, which the servers keep
        assert [tab.evaluate("statuses") for tab in tabs] == [["connecting", "online"]] * len(KINDS)


def test_a_connection_that_the_content_security_policy_blocks_is_noticed_at_once(browser: Browser) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        blocking = {"Content-Security-Policy": "connect-src 'none'", "Content-Type": "text/html"}
        page.route("**/*", lambda route: route.fulfill(status=200, headers=blocking, body="<p>blocked"))
        page.goto("http://127.0.0.1:9/")
        took = page.evaluate(
            f"""() => {CLIENT}.then(({{ connect }}) => new Promise((resolve) => {{
                const live = connect(), start = Date.now();
                live.on("status", (status, {{ error }}) => {{
                    if (status === "waiting") resolve([Date.now() - start, error.code]);
                }});
                live.topic("rooms/lobby");
            }}))"""
        )
    finally:
        context.close()
    assert took[0] < 5_000  # without a close event, it was the ten seconds of the connect timeout
    assert took[1] == "connection_lost"

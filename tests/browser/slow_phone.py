"""A phone on a slow line, and how long a page of Harbor takes on it.

The figures of the line and of the processor are those that Lighthouse calls "slow 4G" and a mid-range phone. Chromium
delays each request by the round trip. It does not delay the start of a connection.
"""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import CDPSession, Page

VIEWPORT = {"width": 390, "height": 844}
PROCESSOR = 4
"""How many times slower the processor is."""

ROUND_TRIP = 150
"""Milliseconds."""

DOWN, UP = 1_600_000 / 8, 750_000 / 8
"""Bytes a second."""

WATCH = """
addEventListener("DOMContentLoaded", () => {
  const times = (window.harborTimes = { usable: null, shifts: 0 });
  // A script has taken over as soon as it says how the connection is doing; a pad can be written in later, when it has its text.
  const taken = () => {
    const word = document.querySelector("#status .status-text");
    const pad = document.querySelector("#pad[data-writable=yes] textarea");
    return pad ? !pad.readOnly : word ? !word.textContent.startsWith("Not live") : true;
  };
  const look = () => { if (times.usable === null && taken()) times.usable = performance.now(); };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
});
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) if (!shift.hadRecentInput) addEventListener.shifts = (addEventListener.shifts ?? 0) + shift.value;
}).observe({ type: "layout-shift", buffered: true });
"""

READ = """() => ({
  painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
  usable: window.harborTimes?.usable ?? null,
  shifts: addEventListener.shifts ?? 0,
  blocking: performance.getEntriesByType("resource").filter((each) => each.renderBlockingStatus === "blocking").map((each) => each.name),
  scripts: performance.getEntriesByType("resource").map((each) => each.name).filter((name) => new URL(name).pathname.endsWith(".js")),
  named: [...document.querySelectorAll("script[src], link[rel=modulepreload]")].map((each) => each.src || each.href),
})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a page opened. Times are milliseconds since the request, bytes are those on the wire."""

    painted: float
    usable: float
    shifts: float
    blocking: list[str]
    """Addresses for which the first paint waited."""

    scripts: list[str]
    named: list[str]
    """Addresses of the scripts that the page's HTML names: all are requested at once."""

    page_bytes: int
    code_bytes: int


class SlowPhone:
    """Opens pages in `page`, with an empty cache each time."""

    def __init__(self, page: Page, *, slow: bool = True) -> None:
        self._page = page
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._slow = slow
        self._kinds: dict[str, str] = {}
        self._bytes: dict[str, int] = {}
        page.add_init_script(WATCH)
        self._session.on("Network.responseReceived", self._answered)
        self._session.on("Network.loadingFinished", self._loaded)
        self._session.send("Network.enable")

    def open(self, url: str, *, empty: bool = True) -> Opening:
        """Open a page; `empty` empties the cache before."""
        if empty:
            self._session.send("Network.clearBrowserCache")
        if self._slow:
            self._throttle(ROUND_TRIP, DOWN, UP, PROCESSOR)
        self._kinds.clear()
        self._bytes.clear()
        self._page.goto(url, wait_until="load")
        self._page.wait_for_function("window.harborTimes.usable !== null", timeout=30_000)
        if self._page.locator("#status").count():
            self._page.wait_for_function(
                "document.querySelector('#status').dataset.status === 'online'", timeout=40_000
            )
        self._page.evaluate(
            "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
        )
        found: dict[str, Any] = self._page.evaluate(READ)
        if self._slow:
            self._throttle(0, -1, -1, 1)
        found["usable"] = max(found["usable"], found["painted"])  # what is not seen is not used either
        code = sum(
            size
            for request, size in self._bytes.items()
            if self._kinds.get(request) in {"Script", "Stylesheet"}
        )
        page = sum(size for request, size in self._bytes.items() if self._kinds.get(request) == "Document")
        return Opening(**found, page_bytes=page, code_bytes=code)

    def _throttle(self, latency: float, down: float, up: float, processor: float) -> None:
        conditions = {
            "offline": False,
            "latency": latency,
            "downloadThroughput": down,
            "uploadThroughput": up,
        }
        self._session.send("Network.emulateNetworkConditions", conditions)
        self._session.send("Emulation.setCPUThrottlingRate", {"rate": processor})

    def _answered(self, event: dict[str, Any]) -> None:
        self._kinds[event["requestId"]] = event["type"]

    def _loaded(self, event: dict[str, Any]) -> None:
        self._bytes[event["requestId"]] = int(event["encodedDataLength"])

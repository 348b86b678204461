"""Tabs of one browser that share one connection (``holdfast/tabs``)."""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import path
from playwright.sync_api import Browser, BrowserContext, Error, Page, Route, expect

from holdfast import Caller, Event, Html, Keep, Topic, action, metrics
from holdfast.testing.live_server import LiveSite
from holdfast.topics.registry import registry

PAGE = """<!doctype html><link rel="icon" href="data:,">{% load holdfast %}<title>{{ user }}</title>{% csrf_token %}<ol></ol>
{% live_script tabs=True %}
<script type="module">
  import { connect } from "holdfast/tabs";
  const live = connect();
  const listen = (topic) => topic.on("rung", ({ name }) => {
    document.querySelector("ol").append(Object.assign(document.createElement("li"), { textContent: name }));
  });
  const bells = live.topic("bells");
  listen(bells);
  live.on("status", (status) => { document.body.dataset.status = status; });
  bells.ready.then(() => { document.body.dataset.topic = "joined"; });
  Object.assign(window, { live, bells, listen });
</script>"""

ELEMENTS = """<!doctype html><link rel="icon" href="data:,">{% load holdfast %}{% live_script html=True tabs=True %}
{% live_topic topic position %}<ol id="list"></ol>{% endlive_topic %}"""

SOON = 8_000
"""Milliseconds for what takes a second on a quiet machine. By asking its leader, a tab would notice an end after 20 seconds."""

AWAKE = 40_000
"""Milliseconds in which another tab takes over from one that does not answer: 30 seconds, on a slow machine."""


class Rung(Event):
    name: str


class Bells(Topic):
    route = "bells"
    events = [Rung, Html]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)

    @action
    def ring(self, caller: Caller, name: str) -> str:
        self.publish(Rung(name))
        return f"{caller.user} rang {name}"


def page(request: HttpRequest, template: str) -> HttpResponse:
    topic = Bells()
    context = {"topic": topic, "position": topic.position(), "user": request.user}
    return HttpResponse(engines["django"].from_string(template).render(context, request))


urlpatterns = [path("", page, {"template": PAGE}), path("elements", page, {"template": ELEMENTS})]


@pytest.fixture
def context(
    monkeypatch: pytest.MonkeyPatch, browser: Browser, live_site: LiveSite
) -> Iterator[BrowserContext]:
    # Playwright's synchronous interface keeps an event loop on this thread, where Django forbids the ORM otherwise.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with (
        registry.override([Bells]),
        override_settings(ROOT_URLCONF=__name__),
        browser.new_context(base_url=live_site.url) as context,
    ):
        yield context


def sign_in(context: BrowserContext, live_site: LiveSite, name: str) -> None:
    client = Client()
    client.force_login(User.objects.get_or_create(username=name)[0])
    context.clear_cookies()
    context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_site.url}]
    )


def opened(context: BrowserContext, count: int) -> list[Page]:
    """Tabs, of which the first one has the connection."""
    tabs = []
    for _ in range(count):
        tabs.append(context.new_page())
        tabs[-1].goto("/")
        joined(tabs[-1])
    return tabs


def joined(tab: Page, timeout: float = 15_000) -> None:
    expect(tab.locator("body")).to_have_attribute("data-topic", "joined", timeout=timeout)
    expect(tab.locator("body")).to_have_attribute("data-status", "online", timeout=timeout)


def connections() -> int:
    return int(metrics.snapshot()["connections"])


def comes_to(count: int, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while connections() != count:
        assert time.monotonic() < until, f"{connections()} connections, not {count}"
        time.sleep(0.05)


def show(tabs: list[Page], *names: str, timeout: float = 15_000) -> None:
    for tab in tabs:
        expect(tab.locator("li")).to_have_text(list(names), timeout=timeout)


def ring(tab: Page, name: str) -> str:
    return str(tab.evaluate("name => window.bells.call('ring', { name })", name))


def test_three_tabs_have_one_connection_and_each_hears_every_event_once(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    tabs = opened(context, 3)
    assert connections() == 1
    Bells().publish(Rung("great"))
    assert ring(tabs[1], "small") == "ada rang small"
    assert ring(tabs[2], "third") == "ada rang third"
    show(tabs, "great", "small", "third")
    tabs[1].evaluate("window.bells.leave()")
    Bells().publish(Rung("last"))
    show([tabs[0], tabs[2]], "great", "small", "third", "last")
    show([tabs[1]], "great", "small", "third")
    tabs[1].evaluate("() => { window.listen(window.live.topic('bells')); }")
    show([tabs[1]], "great", "small", "third", "last")
    assert connections() == 1


def test_when_the_tab_that_has_the_connection_is_closed_another_one_goes_on(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    leader, *others = opened(context, 3)
    Bells().publish(Rung("before"))
    show(others, "before")
    leader.close()
    Bells().publish(Rung("between"))
    show(others, "before", "between", timeout=SOON)
    assert ring(others[0], "after") == "ada rang after"
    show(others, "before", "between", "after")
    comes_to(1)


def test_when_the_tab_that_has_the_connection_crashes_another_one_goes_on(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    leader, *others = opened(context, 3)
    Bells().publish(Rung("before"))
    show(others, "before")
    with contextlib.suppress(Error):
        leader.goto("chrome://crash", timeout=5_000)
    Bells().publish(Rung("between"))
    show(others, "before", "between", timeout=SOON)
    assert ring(others[0], "after") == "ada rang after"
    show(others, "before", "between", "after")
    comes_to(1)


@pytest.mark.timeout(120)
def test_a_tab_that_the_browser_freezes_gives_the_connection_up_and_shares_again_later(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    leader, *others = opened(context, 2)
    devtools = context.new_cdp_session(leader)
    devtools.send("Debugger.enable")
    # Chromium never freezes a page that Playwright controls. What it does is tell the page, and then run nothing of it.
    leader.evaluate("document.dispatchEvent(new Event('freeze'))")
    devtools.send("Debugger.pause")
    Bells().publish(Rung("while it sleeps"))
    show(others, "while it sleeps", timeout=SOON)
    devtools.send("Debugger.disable")
    joined(leader, timeout=AWAKE)
    show([leader], "while it sleeps")
    comes_to(1)


@pytest.mark.timeout(180)
def test_a_tab_that_hangs_loses_the_connection_to_another_one(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    leader, *others = opened(context, 2)
    devtools = context.new_cdp_session(leader)
    devtools.send("Debugger.enable")
    devtools.send("Debugger.pause")

    Bells().publish(Rung("while it hangs"))
    show(others, "while it hangs", timeout=AWAKE)
    assert ring(others[0], "again") == "ada rang again"
    devtools.send("Debugger.disable")
    show([leader, *others], "while it hangs", "again", timeout=AWAKE)
    comes_to(1)


def test_a_page_of_another_user_has_a_connection_of_its_own(
    context: BrowserContext, live_site: LiveSite
) -> None:
    sign_in(context, live_site, "ada")
    [first] = opened(context, 1)
    sign_in(context, live_site, "grace")
    [other] = opened(context, 1)
    assert connections() == 2
    assert ring(first, "one") == "ada rang one"
    assert ring(other, "two") == "grace rang two"
    assert [first.evaluate("window.live.user"), other.evaluate("window.live.user")] == [
        str(User.objects.get(username=name).pk) for name in ("ada", "grace")
    ]


def test_elements_share_without_a_script(context: BrowserContext, live_site: LiveSite) -> None:
    sign_in(context, live_site, "ada")
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto("/elements")
        expect(tab.locator("live-topic")).to_have_attribute("status", "joined")
    assert connections() == 1
    Bells().remove_html(target="list")
    for tab in tabs:
        expect(tab.locator("#list")).to_have_count(0)


# ── on a network that lets no WebSocket through ──────────────────────────────────────────────────────────────────────

SLOW = 60_000
"""Milliseconds for a tab that tries each transport before it takes one that gets through."""


@pytest.fixture(params=["sse", "polling"])
def transport(request: pytest.FixtureRequest, context: BrowserContext) -> str:
    """The transport that the network of the context leaves to the tabs."""

    def nothing(route: Route) -> None:
        """A proxy that passes on only whole responses, and a stream never ends."""

    context.route_web_socket(re.compile("/live/ws"), lambda socket: socket.close(code=3000, reason="blocked"))
    if request.param == "polling":
        context.route(re.compile("/live/sse"), nothing)
    return str(request.param)


def carried_by(transport: str, count: int, seconds: float = 30) -> None:
    """Wait until so many connections are there, all of them of this transport. A session of polling lingers for ten seconds."""
    until = time.monotonic() + seconds
    while True:
        found = metrics.snapshot()
        if found["connections"] == found[f"connections_{transport}"] == count:
            return
        assert time.monotonic() < until, {name: found[name] for name in found if "connections" in name}
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_tabs_share_a_connection_that_is_no_websocket(
    context: BrowserContext, live_site: LiveSite, transport: str
) -> None:
    sign_in(context, live_site, "ada")
    leader, *others = tabs = [context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto("/")
        joined(tab, timeout=SLOW)
    carried_by(transport, 1)
    Bells().publish(Rung("great"))
    assert ring(others[0], "small") == "ada rang small"
    show(tabs, "great", "small")
    others[0].evaluate("window.bells.leave()")
    Bells().publish(Rung("third"))
    show([leader, others[1]], "great", "small", "third")
    others[0].evaluate("() => { window.listen(window.live.topic('bells')); }")
    show(tabs, "great", "small", "third")
    assert [tab.evaluate("window.live.state.transport") for tab in tabs] == ["websocket"] * 3

    leader.close()
    Bells().publish(Rung("between"))
    assert ring(others[1], "after") == "ada rang after"
    show(others, "great", "small", "third", "between", "after", timeout=SLOW)
    carried_by(transport, 1)

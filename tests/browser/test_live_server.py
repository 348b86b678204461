"""The live server of ``holdfast.testing``, with Chromium: as ``docs/how-to/test-your-topics.md`` says."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import path
from playwright.sync_api import Browser, expect

from holdfast import Event, Keep, Topic
from holdfast.testing.live_server import LiveSite
from holdfast.topics.registry import registry

PAGE = """<!doctype html>{% load holdfast %}<title>Bells</title><ul></ul>{% live_script %}
<script type="module">
  import { connect } from "holdfast";
  const bells = connect().topic("bells");
  bells.on("rung", (bell) => document.querySelector("ul").append(Object.assign(document.createElement("li"), {
    textContent: bell.name,
  })));
  bells.ready.then(() => { document.title = "joined"; });
</script>"""


class Rung(Event):
    name: str


class Chimed(Event, durable=False):
    name: str


class Bells(Topic):
    route = "bells"
    events = [Rung, Chimed]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return bool(user.is_authenticated)


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [path("", page)]


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Playwright's synchronous interface keeps an event loop on this thread, where Django forbids the ORM otherwise.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with registry.override([Bells]), override_settings(ROOT_URLCONF=__name__):
        yield


def test_what_the_test_publishes_shows_in_the_page(
    bells: None, live_site: LiveSite, browser: Browser
) -> None:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_site.url}
    with browser.new_context() as context:
        context.add_cookies([session])  # type: ignore[list-item]
        there = context.new_page()
        there.goto(live_site.url)
        expect(there).to_have_title("joined")
        Bells().publish(Rung("great"))
        Bells().publish(Rung("small"))
        expect(there.locator("li")).to_have_text(["great", "small"])

"""Static files with a hash in their names, as production serves them, in pages of every kind."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.services.processes import free_port, start

DJANGO = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
WHITENOISE = "whitenoise.storage.CompressedManifestStaticFilesStorage"

SETTINGS = """
from pathlib import Path

SECRET_KEY = "x"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = [
    "holdfast", "holdfast.pad", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.staticfiles", "site_app",
]
MIDDLEWARE = [
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
STATIC_URL = "assets/"
STATIC_ROOT = Path(__file__).parent / "collected"
"""

URLS = """
from django.shortcuts import render
from django.urls import path
from site_app.live import Notes

def page(request, name):
    topic = Notes()
    return render(request, f"{name}.html", {"topic": topic, "position": topic.position()})

def publish(request):
    Notes().publish_html("note.html", {}, target="notes", swap="append")
    return render(request, "note.html")

urlpatterns = [path("publish", publish), path("<slug:name>", page)]
"""

LIVE = """
from holdfast import Html, Keep, Topic

class Notes(Topic):
    route = "notes"
    events = [Html]
    keep = Keep(days=1)

    def may_join(self, user):
        return True
"""

HEAD = '<!doctype html><link rel="icon" href="data:,">{% load holdfast static %}'
LISTEN = """<script type="module">
  import { connect } from "%s";
  const notes = connect().topic("notes");
  notes.on("holdfast.html", () => { document.body.dataset.heard = "yes"; });
  notes.ready.then(() => { document.body.dataset.topic = "joined"; });
</script><ul id="notes"></ul>"""
OWN_MAP = """<script type="importmap">
  { "imports": { {% live_imports %}, "own": "{% static 'own/own.js' %}" } }
</script>{% live_script importmap=False %}<script type="module">import "own";</script>"""
EVERY_ENTRY = """<script type="module">
  const names = ["holdfast", "queue", "texts", "html", "textarea", "yjs", "tabs"];
  const entries = names.map((name) => import(name === "holdfast" ? name : `holdfast/${name}`));
  await Promise.all([...entries, import("yjs")]);
  document.body.dataset.entries = "loaded";
</script>"""

TEMPLATES = {
    "note": "<li>a note</li>",
    "plain": HEAD + "{% live_script %}" + LISTEN % "holdfast",
    "tabs": HEAD + "{% live_script tabs=True %}" + LISTEN % "holdfast/tabs",
    "entries": HEAD + "{% live_script %}" + EVERY_ENTRY,
    "own": HEAD + OWN_MAP + LISTEN % "holdfast",
    "elements": HEAD
    + "{% live_script html=True %}{% live_topic topic position %}"
    + '<ul id="notes"></ul>{% endlive_topic %}',
    "shared": HEAD
    + "{% live_script html=True tabs=True %}{% live_topic topic position %}"
    + '<ul id="notes"></ul>{% endlive_topic %}',
}

WITH_IMPORTS = """
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

class Storage(ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""


class Site:
    """A project whose static files are collected, behind ``holdfast serve`` with WhiteNoise."""

    def __init__(self, directory: Path, settings: str) -> None:
        self.directory = directory
        files = {
            "settings.py": SETTINGS + settings,
            "urls.py": URLS,
            "manage.py": MANAGE,
            "rewriting.py": WITH_IMPORTS,
            "site_app/__init__.py": "",
            "site_app/live.py": LIVE,
            "site_app/static/own/own.js": "globalThis.own = true;",
            **{f"site_app/templates/{name}.html": text for name, text in TEMPLATES.items()},
        }
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_"))
        }

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        ran = subprocess.run(
            command, cwd=self.directory, env=self._environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    @contextmanager
    def running(self) -> Iterator["Site"]:
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--noinput", "--verbosity", "0")
        command = [
            sys.executable,
            str(self.directory / "manage.py"),
            "holdfast",
            "serve",
            "--port",
            str(self.port),
        ]
        server = start("hashed", command, directory=self.directory, env=self._environment)
        try:
            server.wait_until(self._ready, seconds=60)
            yield self
        finally:
            server.stop()

    def _ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/live/ready", timeout=5) as response:
            return bool(response.status == 200)
        return False

    def publish(self) -> None:
        urllib.request.urlopen(f"{self.url}/publish", timeout=10).close()


STORAGES = {
    "django": f'STORAGES = {{"staticfiles": {{"BACKEND": "{DJANGO}"}}}}',
    "django, imports rewritten": 'STORAGES = {"staticfiles": {"BACKEND": "rewriting.Storage"}}',
    "whitenoise, hashed names only": f'STORAGES = {{"staticfiles": {{"BACKEND": "{WHITENOISE}"}}}}\n'
    "WHITENOISE_KEEP_ONLY_HASHED_FILES = True",
}


@pytest.fixture(scope="module", params=list(STORAGES))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hashed"), STORAGES[request.param]).running() as site:
        yield site


class Visit:
    """A page, the modules that it loads, and its console."""

    def __init__(self, context: BrowserContext, site: Site, name: str, *, sockets: bool = True) -> None:
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.loaded: dict[str, int] = {}
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("response", self._note)
        if not sockets:
            self.page.route_web_socket(re.compile("/live/ws"), lambda socket: socket.close(code=3000))
        self.page.goto(f"{site.url}/{name}")

    def _note(self, response: Any) -> None:
        path = urlsplit(response.url).path
        if path.startswith("/assets/"):
            self.loaded[path.removeprefix("/assets/")] = response.status

    def all_hashed(self) -> None:
        assert self.loaded
        for path, status in self.loaded.items():
            assert status == 200, f"{path}: {status}"
            assert re.search(r"\.[0-9a-f]{12}\.js$", path), f"{path} has no hash in its name"
        assert len({re.sub(r"\.[0-9a-f]{12}", "", path) for path in self.loaded}) == len(self.loaded)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.mark.parametrize("name", ["plain", "tabs", "own"])
def test_a_module_of_the_page_hears_its_topic(site: Site, context: BrowserContext, name: str) -> None:
    visit = Visit(context, site, name)
    expect(visit.page.locator("body")).to_have_attribute("data-topic", "joined")
    site.publish()
    expect(visit.page.locator("body")).to_have_attribute("data-heard", "yes")
    visit.all_hashed()
    assert visit.said == []


@pytest.mark.parametrize("name", ["elements", "shared"])
def test_an_element_shows_its_topic(site: Site, context: BrowserContext, name: str) -> None:
    visit = Visit(context, site, name)
    expect(visit.page.locator("live-topic")).to_have_attribute("status", "joined")
    site.publish()
    expect(visit.page.get_by_text("a note")).to_be_attached()
    visit.all_hashed()
    assert visit.said == []


def test_every_entry_is_found(site: Site, context: BrowserContext) -> None:
    visit = Visit(context, site, "entries")
    expect(visit.page.locator("body")).to_have_attribute("data-entries", "loaded")
    visit.all_hashed()
    assert visit.said == []


@pytest.mark.parametrize("name", ["plain", "tabs", "own"])
def test_the_file_for_networks_without_websockets_is_found(
    site: Site, context: BrowserContext, name: str
) -> None:
    visit = Visit(context, site, name, sockets=False)
    expect(visit.page.locator("body")).to_have_attribute("data-topic", "joined")
    visit.all_hashed()
    assert any("/fallback." in path for path in visit.loaded)


def test_each_file_that_a_collected_file_names_is_collected(site: Site) -> None:
    collected = site.directory / "collected"
    manifest = json.loads((collected / "staticfiles.json").read_text())["paths"]
    found = 0
    for name, hashed in manifest.items():
        if not name.endswith((".js", ".css")) or not name.startswith("holdfast/"):
            continue
        text = (collected / hashed).read_text()
        maps = re.findall(r"[#@] sourceMappingURL=(\S+)", text)
        relative = re.findall(r"""(?:from|import)\s*\(?\s*["'](\.{1,2}/[^"']+)["']""", text)
        for named in [*maps, *relative]:
            found += 1
            target = urljoin(hashed, named)
            assert (collected / target).exists() or manifest.get(target), f"{name} names {named}"
    assert found >= 2  # the client and its entry `tabs` load the fallback

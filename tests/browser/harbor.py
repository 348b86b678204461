"""Harbor as a real process that can be killed, and a person with a browser in it."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, WebSocket, expect

from tests.services.processes import Server, free_port, start

MANAGE = Path(__file__).resolve().parents[2] / "example" / "manage.py"
PASSWORD = "holdfast"


def environment(directory: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("HARBOR_", "DJANGO_"))}
    return {
        **ours,
        "HARBOR_VAR": str(directory),
        "HARBOR_BOTS": "0",
        "HARBOR_SECRET_KEY": "only these tests are signed with it",
        "PYTHONUNBUFFERED": "1",
    }


def manage(directory: Path, *arguments: str, changes: dict[str, str] | None = None) -> str:
    """Run one of Harbor's management commands on the database in `directory`, or on the one that `changes` name."""
    done = subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env=environment(directory) | (changes or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"manage.py {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


SIGN_IN = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
sessions = {}
for user in User.objects.all():
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    sessions[user.username] = session.session_key
print(json.dumps(sessions))
"""


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """A migrated and seeded database, and a session of each of its users.

    Django's hash of a password costs half a second of CPU, by design. With a session a test need not pay for it.
    """

    database: Path
    sessions: dict[str, str]

    @classmethod
    def make(cls, directory: Path) -> "Seeded":
        manage(directory, "migrate", "--verbosity", "0")
        manage(directory, "seed")
        printed = manage(directory, "shell", "--verbosity", "0", "-c", SIGN_IN)
        return cls(database=directory / "harbor.sqlite3", sessions=json.loads(printed))


class Harbor:
    """The demo's server on a port of its own, with a copy of a seeded database.

    ``sessions`` are the keys of sessions in it, by user.
    """

    def __init__(self, directory: Path, seeded: Path, sessions: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.sessions = sessions or {}
        shutil.copy(seeded, directory / "harbor.sqlite3")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: Server | None = None
        self.changes: dict[str, str] = {}
        """Environment variables of the server that a test changes before it starts the server again."""

    def start(self) -> None:
        command = [sys.executable, MANAGE, "runserver", "--noreload", f"127.0.0.1:{self.port}"]
        self.server = start(
            "harbor", command, directory=self.directory, env=environment(self.directory) | self.changes
        )
        self.server.wait_until(self._answers)

    def kill(self) -> None:
        """Send SIGKILL: the server finishes nothing and closes nothing."""
        assert self.server is not None
        self.server.kill()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    def manage(self, *arguments: str) -> str:
        return manage(self.directory, *arguments)

    def output(self) -> str:
        return self.server.output(last=1_000_000) if self.server else ""

    def stored(self, room: str = "lobby") -> list[tuple[int, str]]:
        """The id and the body of every message in the database, in order."""
        with contextlib.closing(sqlite3.connect(self.directory / "harbor.sqlite3", timeout=20)) as database:
            return database.execute(
                "SELECT m.id, m.body FROM chat_message m JOIN chat_room r ON r.id = m.room_id "
                "WHERE r.slug = ? ORDER BY m.id",
                [room],
            ).fetchall()

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/login/", timeout=5) as response,
        ):
            return bool(response.status == 200)
        return False


class Site(Protocol):
    """A server that a person's browser goes to, and the keys of sessions that it knows, by user."""

    @property
    def url(self) -> str: ...

    @property
    def sessions(self) -> Mapping[str, str]: ...


class Person:
    """A person with their own browser, which records every complaint of the page."""

    def __init__(self, context: BrowserContext, harbor: "Site", name: str) -> None:
        self.context, self.harbor, self.name = context, harbor, name
        self.page = context.new_page()
        self.complaints: list[str] = []
        self._forgiven: tuple[str, ...] = ()
        #: What the server has said over the WebSocket, in order.
        self.heard: list[dict[str, Any]] = []
        self.page.on("websocket", self._listen)
        self._note(self.page)

    def sign_in(self) -> None:
        """Sign in, and open the first page."""
        if self._has_session():
            self.page.goto(f"{self.harbor.url}/")
        else:
            self.sign_in_by_form()

    def sign_in_by_form(self) -> None:
        self.page.goto(f"{self.harbor.url}/login/")
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Come aboard").click()
        expect(self.page).to_have_url(f"{self.harbor.url}/")
        self.page.wait_for_load_state("domcontentloaded")  # the address changes before the page has a body

    def _has_session(self) -> bool:
        """Give the browser the cookie of a session that the database has, as Django would set it."""
        key = self.harbor.sessions.get(self.name)
        if key:
            self.context.add_cookies(
                [
                    {
                        "name": "sessionid",
                        "value": key,
                        "url": self.harbor.url,
                        "httpOnly": True,
                        "sameSite": "Lax",
                    }
                ]
            )
        return bool(key)

    def enter(self, room: str = "lobby") -> "Person":
        """Sign in, open a room, and wait until the page has joined, so that it shows passing events."""
        if not self._has_session():
            self.sign_in_by_form()
        self.page.goto(f"{self.harbor.url}/rooms/{room}/")
        self.is_online()
        expect(self.page.locator("#here")).to_be_visible(timeout=40_000)
        return self

    def is_online(self) -> None:
        expect(self.status).to_have_text("Online", timeout=40_000)

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    @property
    def draft(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message to")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def pending(self) -> Locator:
        return self.page.locator(".message.pending")

    def message(self, text: str) -> Locator:
        return self.page.locator(".message").filter(has=self.page.get_by_text(text, exact=True))

    def say(self, text: str) -> None:
        self.draft.fill(text)
        self.draft.press("Enter")

    def say_at_once(self, texts: list[str]) -> None:
        """Send all of them in one go, through the form, faster than a person types."""
        self.page.evaluate(
            """texts => {
                const form = document.getElementById("composer");
                for (const text of texts) { form.elements.body.value = text; form.requestSubmit(); }
            }""",
            texts,
        )

    def sees(self, text: str) -> None:
        expect(self.message(text)).to_have_count(1)

    def shown(self) -> list[tuple[int, str]]:
        """The id and the body of every confirmed message on the page, from top to bottom."""
        return [
            (int(id_), body)
            for id_, body in self.page.evaluate(
                """() => Array.from(document.querySelectorAll(".message[data-id]"),
                    (each) => [each.dataset.id, each.querySelector(".body").textContent])"""
            )
        ]

    def acknowledged(self) -> list[int]:
        """The ids that the server has answered to this person's calls."""
        return [
            frame["payload"]
            for frame in self.heard
            if frame["type"] == "result" and isinstance(frame.get("payload"), int)
        ]

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float = 20) -> None:
        """Return once `condition()`, which is asked after each frame of the page."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(
                    f"{self.name} waited {seconds:g} s in vain for {what}; is {self.status.inner_text()}, shows "
                    f"{len(self.shown())} messages and {self.pending.count()} pending, heard last {self.heard[-3:]}"
                )
            self.page.evaluate("() => new Promise(requestAnimationFrame)")

    def opened(self, path: str) -> Page:
        """Another page of the same browser, live if it has a status. Its complaints are noted as well."""
        page = self.context.new_page()
        self._note(page)
        page.goto(f"{self.harbor.url}{path}")
        if page.locator("#status").count():
            expect(page.locator("#status")).to_have_text("Online", timeout=60_000)
        return page

    def forgive_outage(self) -> None:
        """Forget what Chromium itself wrote on the console while the server was away, and what it still writes."""
        self._forgiven = AWAY
        self.complaints = [each for each in self.complaints if not any(known in each for known in AWAY)]

    def _note(self, page: Page) -> None:
        page.on("console", self._noted)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _noted(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"} and not any(
            known in message.text for known in self._forgiven
        ):
            self.complaints.append(f"{message.type}: {message.text}")

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda data: self.heard.append(json.loads(data)))


#: Messages on the console when a server does not answer: Chromium's own, which no page can prevent, and the hint that Holdfast's
#: client gives once several attempts have failed. How many there are depends on how long the server takes to come back.
AWAY = ("WebSocket connection to", "Failed to load resource: net::ERR_", "Holdfast: cannot connect.")


@contextlib.contextmanager
def person(browser: Browser, harbor: Site, name: str, **options: Any) -> Iterator[Person]:
    """Yield a person. The test fails if the page complained of anything."""
    # Without a GPU an animation costs more than all else that the page does.
    still = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
    context = browser.new_context(**{**still, **options})
    context.set_default_timeout(15_000)
    one = Person(context, harbor, name)
    try:
        yield one
    finally:
        context.close()
    assert not one.complaints, f"{name}'s console: {one.complaints}"

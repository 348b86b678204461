"""The clients that the page about other languages shows, against a real server."""

import contextlib
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asgi_servers.servers import BIN, GENEROUS, SHORT, Kind, Prepared, Running, environment_for
from tests.server.running import until
from tests.services.leftovers import outlive_their_tests
from tests.services.processes import free_port, start

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "other-clients.md"
TOKENS = PAGE.with_name("authentication.md")
SECONDS = 20

KIND = Kind(
    name="holdfast",
    command=lambda port, app: [
        *("uvicorn", "--ws", "holdfast.server:WebSocketProtocol", "--http", "holdfast.server:HttpProtocol"),
        *("--port", str(port), app),
    ],
)


def shown(name: str) -> Callable[..., Any]:
    """The function that the page shows as a file of its name."""
    (block,) = re.findall(
        rf'^```python title="{name}.py"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(block, f"{name}.py", "exec"), names)
    function: Callable[..., Any] = names[name]
    return function


@pytest.fixture(scope="module")
def call() -> Callable[..., Any]:
    return shown("call")


class Site:
    """The tests' project behind one port, whose server can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prepared = Prepared.make(directory)
        tokens = {"TOKEN_AUTHENTICATOR": "accounts.tokens.user"}
        holdfast = {**GENEROUS, **tokens, "DRAIN_SECONDS": 0, "HEARTBEAT_SECONDS": 1}
        environment = environment_for(self._prepared.database, holdfast)
        self._environment = environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}:{directory}"}
        (directory / "accounts").mkdir()
        (block,) = re.findall(
            r"^```python\n# accounts/tokens.py\n(.*?)^```$", TOKENS.read_text(), re.MULTILINE | re.DOTALL
        )
        (directory / "accounts" / "tokens.py").write_text(block)
        self._port = free_port()
        self.start()

    def start(self) -> None:
        program, *arguments = KIND.command(self._port, SHORT)
        process = start("site", [BIN / program, *arguments], directory=self._directory, env=self._environment)
        self.server = Running(kind=KIND, port=self._port, process=process, users=self._prepared.users)
        process.wait_until(self.server.ready)

    def stop(self) -> None:
        self.server.process.stop(seconds=20)

    def token(self) -> str:
        """Print a token as the page does."""
        (program,) = re.findall(r'^python manage.py shell -v 0 -c "(.*)"$', PAGE.read_text(), re.MULTILINE)
        command = [sys.executable, "-m", "django", "shell", "-v", "0", "-c", program]
        settings = {"DJANGO_SETTINGS_MODULE": "tests.asgi_servers.project.settings"}
        done = subprocess.run(
            command, env=self._environment | settings, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.stop()


Reports = list[str]


@pytest.fixture
def reports() -> Reports:
    """What a test's `follow` wrote to standard error."""
    return []


@pytest.fixture
def follow(site: Site, reports: Reports) -> Iterator[Callable[..., None]]:
    """The function of one test. It writes into `reports`: its thread outlives the test, and must not write to a standard error that
    pytest has closed. After the test, the thread ends as soon as it would report that it cannot connect."""
    function, over = shown("follow"), threading.Event()

    def report(text: str, file: Any) -> None:
        assert file is sys.stderr
        if over.is_set():
            sys.exit()
        reports.append(text)

    function.__globals__["print"] = report
    yield function
    over.set()


def in_a_thread(function: Callable[..., Any], *arguments: Any) -> None:
    def run() -> None:
        with contextlib.suppress(SystemExit):  # the end that the fixture `follow` gives it
            function(*arguments)

    thread = threading.Thread(target=run, daemon=True)
    # The page's function waits for the server's next message, and the server stays for the next test.
    outlive_their_tests.add(thread)
    thread.start()


def begin(follow: Callable[..., None], site: Site, topic: str) -> "queue.Queue[Any]":
    """Follow in a thread that ends with the process; what it is told comes out of the queue."""
    told: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            follow(
                site.server.socket("live/ws"),
                site.server.origin,
                topic,
                lambda name, payload: told.put((name, payload["text"])),
                lambda: told.put("missed"),
            )
        except Exception as error:
            told.put(error)

    in_a_thread(run)
    return told


def hears(site: Site, told: "queue.Queue[Any]", room: str) -> bool:
    """Publish until an event arrives: one from before the join does not. Each is longer than the one before, to tell them
    apart."""
    for size in range(2, 2 + SECONDS):
        site.server.get(f"say/{room}/?size={size}")
        with contextlib.suppress(queue.Empty):
            while (text := told.get(timeout=1)[1]) != "0:".ljust(size, "."):
                assert len(text) < size
            return True
    return False


@pytest.mark.slow
def test_it_gets_what_was_published_while_the_server_was_away(
    follow: Callable[..., None], site: Site
) -> None:
    told = begin(follow, site, "rooms/other")
    assert hears(site, told, "other")

    site.stop()
    site.start()
    site.server.get("say/other/?count=3&size=2")

    assert [told.get(timeout=SECONDS) for _ in range(3)] == [("said", f"{number}:") for number in range(3)]
    assert told.empty()


@pytest.mark.slow
def test_it_ends_where_it_has_no_right(follow: Callable[..., None], site: Site) -> None:
    error = begin(follow, site, "rooms/private-1").get(timeout=SECONDS)
    assert isinstance(error, LookupError)
    assert error.args == ("forbidden",)


@pytest.mark.slow
def test_it_stays_connected_in_silence(
    follow: Callable[..., None], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than the server waits for a sign of life (2.5 heartbeats, of one second here)."""
    connected = []
    connect = follow.__globals__["connect"]
    monkeypatch.setitem(
        follow.__globals__, "connect", lambda *a, **options: connected.append(a) or connect(*a, **options)
    )
    told = begin(follow, site, "rooms/silent")
    assert hears(site, told, "silent")
    with pytest.raises(queue.Empty):
        told.get(timeout=4)
    assert len(connected) == 1


@pytest.mark.slow
def test_it_says_why_it_cannot_connect(follow: Callable[..., None], site: Site, reports: Reports) -> None:
    url = site.server.socket("live/misspelled")
    in_a_thread(follow, url, site.server.origin, "rooms/other", print, print)
    until(lambda: reports, SECONDS)
    assert reports[0] == f"{url}: server rejected WebSocket connection: HTTP 403; trying again"


@pytest.mark.slow
def test_a_call_of_a_token_s_user_is_carried_out(call: Callable[..., Any], site: Site) -> None:
    url = site.server.socket("live/ws")
    with pytest.raises(LookupError, match="forbidden"):
        call(url, "rooms/private-ada", "say", text="hi")
    assert isinstance(call(url, "rooms/private-ada", "say", token=site.token(), text="hi"), int)
    with pytest.raises(LookupError, match="invalid_payload"):
        call(url, "rooms/lobby", "say", text="")

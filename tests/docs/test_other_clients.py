"""The client that the page about other languages shows, against a real server."""

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asgi_servers.servers import BIN, GENEROUS, SHORT, Kind, Prepared, Running, environment_for
from tests.services.processes import free_port, start

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "other-clients.md"
SECONDS = 20

KIND = Kind(
    name="holdfast",
    command=lambda port, app: [
        *("uvicorn", "--ws", "holdfast.server:WebSocketProtocol", "--http", "holdfast.server:HttpProtocol"),
        *("--port", str(port), app),
    ],
)


@pytest.fixture(scope="module")
def follow() -> Callable[..., None]:
    (block,) = re.findall(
        r'^```python title="follow.py"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(block, "follow.py", "exec"), names)
    function: Callable[..., None] = names["follow"]
    return function


class Site:
    """The tests' project behind one port, whose server can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prepared = Prepared.make(directory)
        holdfast = {**GENEROUS, "DRAIN_SECONDS": 0, "HEARTBEAT_SECONDS": 1}
        self._environment = environment_for(self._prepared.database, holdfast)
        self._port = free_port()
        self.start()

    def start(self) -> None:
        program, *arguments = KIND.command(self._port, SHORT)
        process = start("site", [BIN / program, *arguments], directory=self._directory, env=self._environment)
        self.server = Running(kind=KIND, port=self._port, process=process, users=self._prepared.users)
        process.wait_until(self.server.ready)

    def stop(self) -> None:
        self.server.process.stop(seconds=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.stop()


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

    threading.Thread(target=run, daemon=True).start()
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

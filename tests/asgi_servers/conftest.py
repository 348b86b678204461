"""One process of each server for a module, started on first use. Its log is checked after every test and at the end.

The servers do not stay for the whole run: with several workers of pytest, a hundred idle servers would take a quarter of
the machine.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .servers import (
    EXPLICIT,
    GENEROUS,
    GUARDED,
    IMPATIENT,
    SERVERS,
    STRICT,
    TROUBLE,
    Kind,
    Prepared,
    Running,
    running,
)

EACH = [pytest.param(kind, id=kind.name) for kind in SERVERS]


class Pool:
    """The servers that run, by kind and variant."""

    def __init__(self, prepared: Prepared, directory: Path) -> None:
        self._directory = directory
        self.prepared = prepared
        self._running: dict[tuple[str, str], Running] = {}
        self._stack = ExitStack()

    def get(self, kind: Kind, variant: str) -> Running:
        key = kind.name, variant
        if key not in self._running:
            self._running[key] = self._stack.enter_context(self.fresh(kind, variant))
        return self._running[key]

    def fresh(self, kind: Kind, variant: str, name: str = "") -> "running":
        """Start a server for one test."""
        holdfast = {"strict": STRICT, "impatient": IMPATIENT, "guarded": GUARDED}.get(variant, GENEROUS)
        app = {"app": EXPLICIT} if variant == "explicit" else {}
        directory = self._directory / f"{kind.name}-{variant}{name}"
        return running(kind, self.prepared, directory, holdfast=holdfast, **app)

    def copy(self, directory: Path) -> Path:
        """A database for a process that the test starts itself."""
        return Path(shutil.copy(self.prepared.database, directory / "live.sqlite3"))

    def close(self) -> list[str]:
        """End all servers. Return the problems in their last output."""
        self._stack.close()
        return [line for server in self._running.values() for line in trouble(server)]


def trouble(server: Running) -> list[str]:
    """Return new lines in a server's log that do not belong there."""
    text = server.new_output()
    for expression, _ in server.kind.allowed_in_log:
        text = re.sub(expression, "", text)
    return [f"{server.kind.name}: {word!r} in its log:\n{text}" for word in TROUBLE if word in text]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.make(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def pool(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    made = Pool(prepared, tmp_path_factory.mktemp("servers"))
    yield made
    wrong = made.close()
    assert not wrong, "\n".join(wrong)


def _lent(pool: Pool, request: pytest.FixtureRequest, variant: str) -> Iterator[Running]:
    server = pool.get(request.param, variant)
    server.new_output()
    yield server
    wrong = trouble(server)
    assert not wrong, "\n".join(wrong)


@pytest.fixture(params=EACH)
def server(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, with the short form of the application and limits that no test reaches."""
    yield from _lent(pool, request, "short")


@pytest.fixture(params=EACH)
def strict(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, with low limits and short heartbeats."""
    yield from _lent(pool, request, "strict")


@pytest.fixture(params=EACH)
def impatient(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, with one second until a client that does not read is closed."""
    yield from _lent(pool, request, "impatient")


@pytest.fixture(params=EACH)
def guarded(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, with sessions, JSON Web Tokens and tickets side by side."""
    yield from _lent(pool, request, "guarded")


@pytest.fixture(params=EACH)
def explicit(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, with explicit routing."""
    yield from _lent(pool, request, "explicit")


@pytest.fixture(params=EACH)
def own(pool: Pool, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each server, started for this test, which may end it."""
    with pool.fresh(request.param, "short", f"-{request.node.name[:40]}") as server:
        yield server
    wrong = trouble(server)
    assert not wrong, "\n".join(wrong)

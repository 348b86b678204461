"""One process of each server, started on first use. Its log is checked after every test and at the end.

The tests are sorted by server. Each server ends after its last test: with several workers of pytest, a hundred idle servers
would take a quarter of the machine.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
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

SHARED = {"server", "strict", "impatient", "guarded", "explicit", "own"}
"""The fixtures below whose parameter is a kind of server."""

POOL = pytest.StashKey["Pool"]()


class Pool:
    """The servers of one kind that run, by variant."""

    def __init__(self, prepared: Prepared, directory: Path) -> None:
        self._directory = directory
        self.prepared = prepared
        self._numbers = count()
        self._kind: Kind | None = None
        self._running: dict[str, Running] = {}
        self._stack = ExitStack()

    def get(self, kind: Kind, variant: str) -> Running:
        if kind is not self._kind:
            self.keep(kind)
        if variant not in self._running:
            self._running[variant] = self._stack.enter_context(self.fresh(kind, variant))
        return self._running[variant]

    def keep(self, kind: Kind | None) -> None:
        """End the servers of any other kind. Fail if there are problems in their last output."""
        if kind is self._kind:
            return
        ended, self._running, self._kind = list(self._running.values()), {}, kind
        self._stack.close()
        wrong = [line for server in ended for line in trouble(server)]
        assert not wrong, "\n".join(wrong)

    def fresh(self, kind: Kind, variant: str) -> "running":
        """Start a server for one test."""
        holdfast = {"strict": STRICT, "impatient": IMPATIENT, "guarded": GUARDED}.get(variant, GENEROUS)
        app = {"app": EXPLICIT} if variant == "explicit" else {}
        directory = self._directory / f"{kind.name}-{variant}-{next(self._numbers)}"
        return running(kind, self.prepared, directory, holdfast=holdfast, **app)

    def copy(self, directory: Path) -> Path:
        """A database for a process that the test starts itself."""
        return Path(shutil.copy(self.prepared.database, directory / "live.sqlite3"))


def trouble(server: Running) -> list[str]:
    """Return new lines in a server's log that do not belong there."""
    text = server.new_output()
    for expression, _ in server.kind.allowed_in_log:
        text = re.sub(expression, "", text)
    return [f"{server.kind.name}: {word!r} in its log:\n{text}" for word in TROUBLE if word in text]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.make(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def pool(
    prepared: Prepared, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Pool]:
    made = pytestconfig.stash[POOL] = Pool(prepared, tmp_path_factory.mktemp("servers"))
    yield made
    made.keep(None)


def shared_by(item: pytest.Item | None) -> Kind | None:
    """Return the kind of the server that a test shares with others."""
    params = item.callspec.params if item and hasattr(item, "callspec") else {}
    kinds = [value for name, value in params.items() if name in SHARED and isinstance(value, Kind)]
    return kinds[0] if kinds else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that share a server follow each other."""
    found = [(number, kind) for number, item in enumerate(items) if (kind := shared_by(item))]
    numbers = [number for number, _ in found]
    names = [kind.name for kind in SERVERS]
    # A kind is one of SERVERS, or one of them that a test has changed.
    found.sort(key=lambda each: (names.index(each[1].name), each[1] not in SERVERS))
    for number, item in zip(numbers, [items[number] for number, _ in found], strict=True):
        items[number] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End the servers that no further test shares."""
    result = yield
    if pool := item.config.stash.get(POOL, None):
        pool.keep(shared_by(nextitem))
    return result


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
    with pool.fresh(request.param, "short") as server:
        yield server
    wrong = trouble(server)
    assert not wrong, "\n".join(wrong)

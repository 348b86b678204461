"""Guard against what a test leaves behind: a thread that still runs, and a database connection that stays open.

Either fails a later test, which has nothing to do with it: the garbage collector warns of the connection, or the thread raises.
This plugin fails the test that leaves them, and where that is not possible it names the test that did.

A thread belongs to the test, or to the fixture of a wider scope, in whose time it was started. A thread that a module of the tests
started must end with its owner. The library's own threads may live as long as the process: the test that started one is named if
the thread raises.
"""

import gc
import sqlite3
import sys
import threading
import traceback
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from django.db.backends.signals import connection_created

PROJECT = ("src", "tests", "example", "bench")
"""Folders of the project whose lines are shown."""
SECONDS = 5.0
"""Time for a thread to end after its owner, if it has been asked to."""

WARNS = sys.version_info >= (3, 13)
"""Does Python warn of a SQLite connection that it collects? Then one that is left open fails a test; otherwise the report names it."""


outlive_their_tests: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""Threads that may run longer than their tests. Each is added before it starts, with the reason beside it."""


class Owner(NamedTuple):
    """A test, or the scope of a fixture."""

    node: pytest.Item | pytest.Collector | None
    name: str


class Opened(NamedTuple):
    """A database connection."""

    django: "weakref.ref[Any]"
    driver: Any
    thread: threading.Thread
    during: str
    stack: traceback.StackSummary


class Leftovers:
    """Threads and connections, with the tests that they belong to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._current = Owner(None, "the start of the run")
        self._owners: weakref.WeakKeyDictionary[threading.Thread, Owner] = weakref.WeakKeyDictionary()
        self._tests_own: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._opened: list[Opened] = []
        self.left_open: list[str] = []

    # ── who owns what ────────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._current = Owner(item, item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        before = self._current
        if fixturedef.scope != "function":
            self._current = Owner(
                request.node, f"the fixture {fixturedef.argname} ({fixturedef.scope}, for {before.name})"
            )
        try:
            return (yield)
        finally:
            self._current = before

    def owner(self, thread: threading.Thread) -> Owner:
        return self._owners.get(thread, self._current)

    def note_thread(self, thread: threading.Thread, started_in: FrameType) -> None:
        starter = threading.current_thread()
        self._owners[thread] = self.owner(starter) if starter in self._tests_own else self._current
        if thread not in outlive_their_tests and Path(started_in.f_code.co_filename).is_relative_to(
            self._root / "tests"
        ):
            self._tests_own.add(thread)

    def note_connection(self, connection: Any, **_: object) -> None:
        if connection.settings_dict["OPTIONS"].get("pool"):
            return  # it goes back there
        thread = threading.current_thread()
        stack = traceback.StackSummary.extract(traceback.walk_stack(None), lookup_lines=False)
        self._opened.append(
            Opened(weakref.ref(connection), connection.connection, thread, self._current.name, stack)
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left_open and not WARNS:
            terminalreporter.section("database connections that tests left open")
            terminalreporter.write_line("\n\n".join(self.left_open))

    # ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        result = yield
        stays = nextitem.listchain() if nextitem is not None else []
        if nextitem is None:
            gc.collect()  # after each test it would cost too much
        open_ones = list(self._open())
        self.left_open += open_ones
        if found := [*self._running(item, stays), *(open_ones if WARNS else [])]:
            pytest.fail("\n\n".join(found), pytrace=False)
        return result

    def _running(self, item: pytest.Item, stays: list[Any]) -> Iterator[str]:
        """Describe threads whose owners have ended."""
        for thread in list(self._tests_own):
            owner = self._owners[thread]
            if owner.node is not None and owner.node is not item and owner.node in stays:
                continue
            thread.join(SECONDS)
            self._tests_own.discard(thread)
            if thread.is_alive():
                frame = sys._current_frames().get(thread.ident or 0)
                where = "".join(traceback.format_stack(frame)) if frame is not None else ""
                yield f"{owner.name} left a thread that still runs after {SECONDS:g} s, {thread.name}; end it:\n{where}"

    def _open(self) -> Iterator[str]:
        """Describe connections that no thread can close any more."""
        kept = []
        for opened in self._opened:
            if not is_open(opened.driver):
                continue
            django = opened.django()
            in_use = django is not None and django.connection is opened.driver
            if in_use and opened.thread.is_alive():
                kept.append(opened)
                continue
            opened.driver.close()
            why = "belongs to a thread that has ended" if in_use else "Django uses no longer"
            starter = self.owner(opened.thread).name
            opener = "".join(traceback.format_list(self._shown(opened.stack)))
            yield (
                f"{opened.during} left a database connection open, which {why} ({opened.thread.name}, started in {starter}).\n"
                f"in_thread() and in_threads() of tests.services.databases close what they open. It was opened here:\n{opener}"
            )
        self._opened = kept

    def _shown(self, stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
        """Return the frames of the project, outermost first; all frames if it has none."""
        outermost_first = list(reversed(stack))
        folders = [self._root / name for name in PROJECT]
        return [
            frame
            for frame in outermost_first
            if frame.filename != __file__ and any(Path(frame.filename).is_relative_to(f) for f in folders)
        ] or outermost_first


def is_open(driver: Any) -> bool:
    if not isinstance(driver, sqlite3.Connection):
        return not driver.closed
    try:
        driver.total_changes  # noqa: B018 - it raises
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.hookimpl(trylast=True)  # so that this hook of threads calls pytest's, and not the other way round
def pytest_configure(config: pytest.Config) -> None:
    leftovers = Leftovers(config.rootpath)
    start, report = threading.Thread.start, threading.excepthook

    def noted_start(thread: threading.Thread) -> None:
        leftovers.note_thread(thread, sys._getframe(1))
        start(thread)

    def named_report(args: threading.ExceptHookArgs, /) -> None:
        if args.thread is not None:
            args.thread.name += f", started in {leftovers.owner(args.thread).name}"
        report(args)

    def undo() -> None:
        threading.Thread.start, threading.excepthook = start, report  # type: ignore[method-assign]
        connection_created.disconnect(leftovers.note_connection)

    threading.Thread.start, threading.excepthook = noted_start, named_report  # type: ignore[method-assign]
    connection_created.connect(leftovers.note_connection, weak=False)
    config.pluginmanager.register(leftovers, "holdfast-leftovers")
    config.add_cleanup(undo)

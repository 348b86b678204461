"""Fixtures and options of all tests. The servers and databases are in tests/services, explained in tests/README.md."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.process.limited_log import unlimited

# The tests start hundreds of Python processes. With PYTHONDONTWRITEBYTECODE, which many containers set, each of them would
# compile Django from its source, which costs four times as much as all else that a start does. pytest itself keeps its
# rewritten test modules in the same way.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest_plugins = ["holdfast.testing.pytest", "tests.services.fixtures", "tests.services.leftovers"]

TESTS = Path(__file__).parent

#: Directories whose tests start processes or a browser; each is a marker too, so that `-m` can leave it out.
KINDS = {"asgi_servers", "attacks", "browser", "fleet"}

#: Those that run with few others: a page must not wait for the CPU longer than its test does.
TOGETHER = {"browser", "fleet"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and (kind := item.path.relative_to(TESTS).parts[0]) in KINDS:
            item.add_marker(kind)
            if kind in TOGETHER and not item.get_closest_marker("alone"):
                item.add_marker("together")
    if hasattr(config, "workerinput"):
        # One of several workers: none of them may begin a long file when the others are done.
        long = {item.path for item in items if any(map(item.get_closest_marker, ("slow", *KINDS)))}
        items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from tests.distribution import ByFileOrServer

    return ByFileOrServer(config, log)


@pytest.fixture(autouse=True)
def every_message() -> Iterator[None]:
    """Log what the test before has logged too: the limit of the log belongs to the process."""
    with unlimited():
        yield

"""What holds for all tests. The servers and databases are in tests/services, explained in tests/README.md."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.process.limited_log import unlimited

pytest_plugins = ["holdfast.testing.pytest", "tests.services.fixtures"]

TESTS = Path(__file__).parent

#: Directories whose tests start processes or a browser; each is a marker too, so that `-m` can leave it out.
KINDS = {"asgi_servers", "attacks", "browser", "fleet"}

#: Those whose tests need the machine for themselves.
ALONE = {"fleet"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and (kind := item.path.relative_to(TESTS).parts[0]) in KINDS:
            item.add_marker(kind)
            if kind in ALONE:
                item.add_marker("alone")


@pytest.fixture(autouse=True)
def every_message() -> Iterator[None]:
    """Log what the test before has logged too: the limit of the log belongs to the process."""
    with unlimited():
        yield

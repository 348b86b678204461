"""Fixtures: Chromium, a server for each test, and people."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import launched
from tests.browser.harbor import Harbor, Person, Seeded, person

People = Callable[..., Person]


@pytest.fixture(scope="package")
def browser(chromium_program: Path) -> Iterator[Browser]:
    # By package, not by session: while Playwright runs it keeps an event loop on this thread, which the tests of
    # other directories would find there.
    with launched(chromium_program) as browser:
        yield browser


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    """A migrated and seeded database, to be copied, whose users are signed in."""
    return Seeded.make(tmp_path_factory.mktemp("seeded"))


@pytest.fixture
def harbor(tmp_path: Path, seeded: Seeded) -> Iterator[Harbor]:
    harbor = Harbor(tmp_path, seeded.database, seeded.sessions)
    harbor.start()
    yield harbor
    harbor.stop()
    assert "Traceback" not in harbor.output(), harbor.output()


@pytest.fixture
def people(browser: Browser, harbor: Harbor) -> Iterator[People]:
    """`people("ada")` is ada with a browser of her own; further arguments are Playwright's for a context."""
    with ExitStack() as stack:

        def a_person(name: str, **options: Any) -> Person:
            return stack.enter_context(person(browser, harbor, name, **options))

        yield a_person

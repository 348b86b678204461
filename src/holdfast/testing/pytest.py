"""Fixtures for pytest. In the project's ``conftest.py``::

    pytest_plugins = ["holdfast.testing.pytest"]

It is not an entry point of pytest. So only projects that ask for them get fixtures of such short names, and no module of
a project is imported before the project says so.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # Django is not set up yet when pytest imports its plugins
    from holdfast.testing import AsyncLive, Live
    from holdfast.testing.live_server import LiveSite

try:
    import pytest_asyncio
except ImportError:
    pytest_asyncio = None  # type: ignore[assignment]


@pytest.fixture
def live() -> "Iterator[Live]":
    """The test's live environment, for ``def`` tests: ``live.connect(user)`` is a client.

    The database is the test's: mark it with ``django_db``, or use one of pytest-django's fixtures.
    """
    from holdfast.testing import Live

    with Live() as environment:
        yield environment


@pytest.fixture
def live_site(transactional_db: None) -> "Iterator[LiveSite]":
    """A server with pages, static files and live topics, for a browser: ``page.goto(live_site.url)``.

    Takes the place of pytest-django's ``live_server``, which serves no WebSockets, and like it gives the test a database
    with real transactions.
    """
    from holdfast.testing.live_server import live_site

    with live_site() as site:
        yield site


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def async_live() -> "AsyncIterator[AsyncLive]":
        """The test's live environment, for ``async def`` tests with pytest-asyncio: ``await async_live.connect(user)``.

        Where the test uses the database, mark it with ``django_db(transaction=True)``: async code has database
        connections of another thread than the one in which ``django_db`` alone begins a transaction.
        """
        from holdfast.testing import AsyncLive

        async with AsyncLive() as environment:
            yield environment

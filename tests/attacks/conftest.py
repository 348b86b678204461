"""A prepared database for the run, and a server under attack for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asgi_servers.servers import Prepared

from .server import Attacked, attacked


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.make(tmp_path_factory.mktemp("attacked"))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[Attacked]:
    with attacked(tmp_path_factory.mktemp("lasting"), prepared) as started:
        yield started


@pytest.fixture
def shared(lasting: Attacked) -> Iterator[Attacked]:
    """A server with the default settings that tests of a module share: those that measure nothing of it."""
    yield lasting
    lasting.assert_well()


@pytest.fixture
def server(tmp_path: Path, prepared: Prepared) -> Iterator[Attacked]:
    """A server with the default settings, for this test alone."""
    with attacked(tmp_path, prepared) as started:
        yield started

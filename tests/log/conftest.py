"""A topic for each test, and the log in each database. The contract's classes have their own ``log``."""

from datetime import timedelta
from uuid import uuid4

import pytest

from holdfast.log import sequencer
from holdfast.log.database import DatabaseLog


@pytest.fixture
def topic() -> str:
    return f"rooms/{uuid4().hex}"


@pytest.fixture
def log(database: str) -> DatabaseLog:
    return DatabaseLog(database)


@pytest.fixture
def grown_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make events that wait for a number overdue at once."""
    monkeypatch.setattr(sequencer, "GRACE", timedelta(seconds=-1))

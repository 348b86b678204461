"""A topic of the test's own, and the log in each database. The contract's classes have a ``log`` of their own."""

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
    """What waits is overdue at once."""
    monkeypatch.setattr(sequencer, "GRACE", timedelta(seconds=-1))

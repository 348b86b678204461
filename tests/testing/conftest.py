from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import AsyncToSync
from django.contrib.auth.models import User

from holdfast.testing.environment import Environment
from tests.testing.harbour import harbour, person


@pytest.fixture(autouse=True)
def topics() -> Iterator[None]:
    with harbour():
        yield


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test ends its own environment."""
    yield
    assert Environment.current is None
    assert not AsyncToSync.loop_thread_executors


@pytest.fixture
def people(db: Any) -> dict[str, User]:
    return {"ada": person("ada", "lobby"), "grace": person("grace", "lobby"), "linus": person("linus")}

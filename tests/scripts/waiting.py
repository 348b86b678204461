"""Not collected by itself: the run that test_interruption.py interrupts. It starts servers and then waits."""

import os
import threading
from pathlib import Path

import pytest

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer


@pytest.mark.timeout(50)
def test_waits(postgres_server: PostgresServer, redis_server: RedisServer, tmp_path: Path) -> None:
    assert postgres_server
    assert redis_server
    Path(os.environ["SAYS_THAT_IT_WAITS"]).write_text(str(tmp_path))
    assert threading.Event().wait(50)

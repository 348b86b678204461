"""The log in memory."""

import pytest

from holdfast.log.memory import MemoryLog
from tests.log.contract import LogContract


@pytest.mark.django_db(transaction=True)
class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog()

    def test_it_may_be_used_on_the_event_loop(self, log: MemoryLog) -> None:
        assert not log.blocking
        assert not log.shared

    async def test_it_works_on_a_running_event_loop(self, log: MemoryLog) -> None:
        from tests.log.events import drafts

        assert not log.in_transaction()
        assert log.append(drafts("rooms/lobby", 1))[0].entries[0].offset == 1
        assert log.claim("ada", "1", "post", seconds=60).mine

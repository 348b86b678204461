"""The log in memory."""

import sys

import pytest

from holdfast.log.memory import MemoryLog
from holdfast.log.memory_calls import MemoryCalls
from tests.log.call_contract import CallContract
from tests.log.contract import LogContract
from tests.log.events import drafts, numbers
from tests.services.databases import in_threads


@pytest.mark.django_db(transaction=True)
class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog()

    def test_threads_that_take_turns_all_the_time_do_not_mix_their_entries_up(self, log: MemoryLog) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            in_threads([lambda: [log.append(drafts("rooms/lobby", 1, 2)) for _ in range(1500)]] * 4)
        finally:
            sys.setswitchinterval(interval)

        assert numbers(log, "rooms/lobby", page=1000) == [1, 2] * 6000

    def test_it_may_be_used_on_the_event_loop(self, log: MemoryLog) -> None:
        assert not log.blocking
        assert not log.shared

    async def test_it_works_on_a_running_event_loop(self, log: MemoryLog) -> None:
        assert not log.in_transaction()
        assert log.append(drafts("rooms/lobby", 1))[0].entries[0].offset == 1
        assert log.calls.claim("ada", "1", "post", seconds=60).mine


@pytest.mark.django_db(transaction=True)
class TestMemoryCalls(CallContract):
    @pytest.fixture
    def calls(self) -> MemoryCalls:
        return MemoryCalls()

"""Timeouts of the replies to calls."""

import asyncio
from collections.abc import Callable

from holdfast.connections.deadlines import Deadlines
from holdfast.connections.pending_reply import Outcome, PendingReply
from holdfast.connections.request import CallFailed
from tests.support.clock import in_jumping_time


class Replies:
    """Replies by name, and the names of those that expired, with the whole seconds since the start."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.expired: list[tuple[str, int]] = []
        self._start = asyncio.get_running_loop().time()

    def add(self, name: str, seconds: float, then: Callable[[], None] = lambda: None) -> PendingReply:
        def answered(outcome: Outcome) -> None:
            assert isinstance(outcome, CallFailed)
            assert (outcome.payload.code, outcome.running) == ("timeout", True)
            self.expired.append((name, round(asyncio.get_running_loop().time() - self._start)))
            then()

        reply = PendingReply(answered, lambda: True)
        self.deadlines.add(reply, seconds)
        return reply


@in_jumping_time
async def test_each_reply_expires_after_its_own_timeout() -> None:
    replies = Replies()
    replies.add("slow", 30)
    replies.add("quick", 5)
    await asyncio.sleep(3)
    replies.add("later", 5)
    await asyncio.sleep(60)
    assert replies.expired == [("quick", 5), ("later", 8), ("slow", 30)]


@in_jumping_time
async def test_a_removed_reply_does_not_expire_and_delays_none() -> None:
    replies = Replies()
    first = replies.add("first", 5)
    await asyncio.sleep(2)
    replies.add("second", 5)
    replies.deadlines.remove(first, 5)
    await asyncio.sleep(60)
    replies.add("third", 5)
    await asyncio.sleep(60)
    assert replies.expired == [("second", 7), ("third", 67)]


@in_jumping_time
async def test_a_reply_that_ends_while_another_expires_is_not_given_twice() -> None:
    replies = Replies()
    late: list[PendingReply] = []
    replies.add("first", 5, then=lambda: replies.deadlines.remove(late[0], 5))
    late.append(replies.add("second", 5))
    await asyncio.sleep(60)
    assert replies.expired == [("first", 5)]


@in_jumping_time
async def test_an_error_in_one_reply_does_not_reach_the_next() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    reported: list[Exception | None] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context.get("exception"))
    )
    replies = Replies()
    replies.add("first", 5, then=fail)
    replies.add("second", 5)
    await asyncio.sleep(60)
    assert replies.expired == [("first", 5), ("second", 5)]
    assert [type(error) for error in reported] == [ZeroDivisionError]


@in_jumping_time
async def test_no_timer_is_left_behind() -> None:
    loop = asyncio.get_running_loop()
    replies = Replies()
    for number in range(1000):
        replies.deadlines.remove(replies.add(f"{number}", 5), 5)
    assert len(loop._scheduled) == 1  # type: ignore[attr-defined]
    await asyncio.sleep(60)
    assert not loop._scheduled  # type: ignore[attr-defined]
    assert not replies.expired


def test_replies_of_another_loop_do_not_stop_the_timer() -> None:
    deadlines = Deadlines()

    async def abandon() -> None:
        deadlines.add(PendingReply(lambda _: None, lambda: True), 0.01)

    async def expire() -> CallFailed:
        answer: asyncio.Future[CallFailed] = asyncio.get_running_loop().create_future()

        def answered(outcome: Outcome) -> None:
            assert isinstance(outcome, CallFailed)
            answer.set_result(outcome)

        deadlines.add(PendingReply(answered, lambda: True), 0.01)
        return await asyncio.wait_for(answer, 10)

    asyncio.run(abandon())
    assert asyncio.run(expire()).payload.code == "timeout"

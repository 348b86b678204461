"""Topic.slow: the policy of a topic without a log for clients that do not read."""

from typing import Any

import msgspec
import pytest

from holdfast import Event, Keep, Slow, Topic
from holdfast.streams.slow import SlowKind


class Price(Event):
    symbol: str
    amount: int


class Renamed(Event):
    symbol: str = msgspec.field(name="s")


def declare(slow: Any, *, keep: Keep | None = None, events: Any = (Price,)) -> type[Topic]:
    return type("Ticker", (Topic,), {"route": "ticker", "events": events, "slow": slow, "keep": keep})


def test_without_a_choice_the_oldest_events_are_dropped() -> None:
    declared = declare(None).declared.slow
    assert declared == Slow.drop()
    assert (declared.kind, declared.buffer_bytes) == (SlowKind.DROP, 65536)


@pytest.mark.parametrize(
    "slow",
    [
        Slow.drop(buffer_bytes=1000),
        Slow.conflate("symbol"),
        Slow.conflate("symbol", "amount"),
        Slow.conflate("symbol", rate="10/s"),
        Slow.disconnect(),
    ],
)
def test_a_topic_declares_its_policy_for_slow_clients(slow: Slow) -> None:
    assert declare(slow).declared.slow == slow


@pytest.mark.parametrize("wrong", ["drop", Slow.drop, Slow, 5])
def test_a_value_that_is_no_slow_is_refused_with_the_way_out(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^Ticker\.slow: .* is not a Slow; write slow = Slow\.drop\(\)"):
        declare(wrong)


def test_a_durable_topic_has_nothing_to_choose() -> None:
    with pytest.raises(
        TypeError, match=r"^Ticker\.slow: a topic with a keep serves slow clients from its log"
    ):
        declare(Slow.drop(), keep=Keep())


def test_a_rate_and_a_keep_contradict_each_other() -> None:
    with pytest.raises(
        TypeError, match=r"^Ticker\.slow: a topic with a keep delivers every event.*; leave keep out"
    ):
        declare(Slow.conflate("symbol", rate="10/s"), keep=Keep())


def test_a_key_that_no_event_has_is_refused_with_the_fields_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"Slow\.conflate\('symbl'\): no event .*: 'symbol', 'amount'$"):
        declare(Slow.conflate("symbl"))


def test_a_field_goes_by_its_name_on_the_wire() -> None:
    assert declare(Slow.conflate("s"), events=[Renamed])
    with pytest.raises(TypeError, match=r"it is called 's' on the wire"):
        declare(Slow.conflate("symbol"), events=[Renamed])

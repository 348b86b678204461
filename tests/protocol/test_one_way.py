"""The protocol on a transport that brings no messages of the client, such as server-sent events."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.protocol import codes
from holdfast.protocol.effects import Admit, Authenticate, Hangup
from holdfast.protocol.frames import HelloFrame, JoinFrame
from holdfast.protocol.server_protocol import Phase

from .driver import JSON, Driver, gist

HEARTBEAT = 25.0


def hello(**payload: Any) -> HelloFrame:
    frame = JSON.decode(json.dumps({"type": "hello", "payload": payload}))
    assert isinstance(frame, HelloFrame)
    return frame


def join(ref: int, topic: str, **payload: Any) -> JoinFrame:
    frame = JSON.decode(json.dumps({"type": "join", "ref": ref, "topic": topic, "payload": payload}))
    assert isinstance(frame, JoinFrame)
    return frame


def one_way(**limits: Any) -> Driver:
    return Driver(duplex=False, heartbeat=HEARTBEAT, **limits)


# ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_welcomes_the_client_before_the_first_message() -> None:
    driver = one_way()
    assert gist(driver.take(driver.protocol.start())) == [("welcome", None)]
    assert driver.protocol.client == "s1"
    assert driver.protocol.phase is Phase.OPEN


def test_the_hello_of_a_start_names_the_client() -> None:
    driver = one_way()
    assert gist(driver.take(driver.protocol.start(hello(client="b1946ac9")))) == [("welcome", None)]
    assert driver.protocol.client == "b1946ac9"


def test_initial_joins_follow_the_welcome_in_order() -> None:
    driver = one_way()
    effects = driver.protocol.start(joins=[join(1, "a"), join(2, "b", since={"epoch": "k3", "offset": 41})])
    assert gist(driver.take(effects[:1])) == [("welcome", None)]
    first, second = effects[1:]
    assert first == Admit(1, "a", None)
    assert isinstance(second, Admit)
    assert (second.ref, second.topic, str(second.since)) == (2, "b", "k3:41")


def test_an_initial_join_is_answered_like_any_other() -> None:
    driver = one_way()
    driver.take(driver.protocol.start(joins=[join(1, "a"), join(2, "b")]))
    assert gist(driver.let_in(1, "a")) == [("joined", 1)]
    assert gist(driver.refuse(2, "b", codes.FORBIDDEN)) == [("error", 2, "forbidden")]


def test_initial_joins_respect_the_limit_on_topics() -> None:
    driver = one_way(topics=1)
    frames = driver.take(driver.protocol.start(joins=[join(1, "a"), join(2, "b"), join(3, "a")]))
    assert gist(frames) == [
        ("welcome", None),
        ("error", 2, "too_many_topics"),
        ("error", 3, "already_joined"),
    ]


def test_initial_joins_wait_until_the_token_is_verified() -> None:
    driver = one_way(user=None)
    assert driver.take(driver.protocol.start(hello(token="t"), [join(1, "a")])) == []
    assert driver.asked == [Authenticate("t", None)]
    frames = driver.take(driver.protocol.authenticated("9", None))
    assert gist(frames) == [("welcome", None)]
    assert frames[0]["payload"]["user"] == "9"
    assert driver.last() == Admit(1, "a", None)


def test_an_invalid_token_ends_the_connection_without_a_welcome() -> None:
    driver = one_way()
    driver.protocol.start(hello(token="t"), [join(1, "a")])
    assert gist(driver.take(driver.protocol.not_authenticated(None))) == [
        ("goodbye", None, "unauthenticated")
    ]
    assert driver.asked == [Hangup(codes.UNAUTHENTICATED)]


def test_a_connection_that_was_closed_before_its_start_stays_closed() -> None:
    driver = one_way()
    driver.take(driver.protocol.hang_up(codes.DISCONNECTED))
    assert driver.protocol.start(joins=[join(1, "a")]) == []


def test_a_second_start_is_an_error() -> None:
    driver = one_way()
    driver.protocol.start()
    with pytest.raises(RuntimeError, match="this one is open"):
        driver.protocol.start()


def test_messages_of_other_requests_are_handled_as_usual() -> None:
    """A client that cannot send on its transport can still POST: the driver passes such messages to ``receive``."""
    driver = one_way()
    driver.take(driver.protocol.start())
    driver.join(1, "a")
    assert gist(driver.let_in(1, "a")) == [("joined", 1)]
    assert gist(driver.leave(2, "a")) == [("left", 2)]


# ── keepalives ────────────────────────────────────────────────────────────────────────────────────────────────────────


def checked(driver: Driver, at: float) -> list[tuple[Any, ...]]:
    driver.now = at
    return gist(driver.take(driver.protocol.check(at)))


def test_a_keepalive_is_sent_every_heartbeat() -> None:
    driver = one_way()
    driver.take(driver.protocol.start())
    assert driver.protocol.next_check(100.0) == 125.0
    assert checked(driver, 124.9) == []
    assert checked(driver, 125.0) == [("pong", None)]
    assert driver.protocol.next_check(125.0) == 150.0
    assert checked(driver, 149.9) == []
    assert checked(driver, 150.0) == [("pong", None)]


def test_a_late_check_sends_one_keepalive_and_no_burst() -> None:
    driver = one_way()
    driver.take(driver.protocol.start())
    assert checked(driver, 1000.0) == [("pong", None)]
    assert checked(driver, 1000.0) == []
    assert driver.protocol.next_check(1000.0) == 1025.0


def test_a_silent_client_is_neither_pinged_nor_closed() -> None:
    driver = one_way()
    driver.take(driver.protocol.start())
    for beat in range(1, 100):
        assert checked(driver, 100.0 + beat * HEARTBEAT) == [("pong", None)]
    assert driver.asked == []
    assert driver.protocol.phase is Phase.OPEN


def test_messages_of_other_requests_do_not_delay_keepalives() -> None:
    """Their answers may leave by another response, and then say nothing about this one."""
    driver = one_way()
    driver.take(driver.protocol.start())
    driver.say({"type": "ping"}, after=20)
    assert checked(driver, 125.0) == [("pong", None)]


def test_no_keepalive_comes_before_the_welcome() -> None:
    driver = one_way(user=None)
    driver.take(driver.protocol.start(hello(token="t")))
    assert checked(driver, 125.0) == []
    assert gist(driver.take(driver.protocol.authenticated("9", None))) == [("welcome", None)]
    assert checked(driver, 150.0) == [("pong", None)]


def test_no_keepalive_comes_after_the_end() -> None:
    driver = one_way()
    driver.take(driver.protocol.start())
    driver.take(driver.protocol.hang_up(codes.DRAINING))
    assert checked(driver, 125.0) == []


@given(
    steps=st.lists(st.floats(0.01, 3 * HEARTBEAT), max_size=40),
    posts=st.sets(st.integers(0, 39)),
)
def test_keepalives_are_a_heartbeat_apart_and_none_that_is_due_is_omitted(
    steps: list[float], posts: set[int]
) -> None:
    driver = one_way()
    driver.take(driver.protocol.start())
    last, now = driver.now, driver.now
    for index, step in enumerate(steps):
        now += step
        if index in posts:
            driver.protocol.receive('{"type":"ping"}', now)
        sent = checked(driver, now)
        assert (sent != []) == (now >= last + HEARTBEAT)
        if sent:
            last = now
        assert now < driver.protocol.next_check(now) <= now + HEARTBEAT

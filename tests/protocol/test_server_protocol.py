"""The server's side of the protocol, in the order of PROTOCOL.md."""

import pytest

from holdfast.protocol import codes, frames
from holdfast.protocol.codec import JSON, MSGPACK
from holdfast.protocol.effects import (
    Admit,
    Authenticate,
    Hangup,
    Limited,
    Perform,
    Probe,
    Release,
    SlowDown,
)
from holdfast.protocol.frames import ErrorPayload
from holdfast.protocol.limits import Limits
from holdfast.protocol.meter import FLOOD, SLOW_SECONDS, Meter, pace_of
from holdfast.protocol.server_protocol import PENDING_PER_TOPIC, Phase, ServerProtocol

from .driver import Driver, gist, text

# ── 2.1 hello and welcome ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_message_is_answered_with_a_welcome() -> None:
    driver = Driver(user="7", message_bytes=1000, topics=3, calls=4, heartbeat=20)
    assert driver.say({"type": "hello"}) == [
        {
            "type": "welcome",
            "payload": {
                "session": "s1",
                "user": "7",
                "heartbeat": 20.0,
                "limits": {"message_bytes": 1000, "topics": 3, "calls": 4},
            },
        }
    ]


@pytest.mark.parametrize("first", ["{", '{"type":"ping"}', '{"type":"leave","ref":1,"topic":"a"}'])
def test_a_client_that_sends_no_hello_is_welcomed_too(first: str) -> None:
    assert Driver().say(first)[0]["type"] == "welcome"


def test_the_welcome_of_an_anonymous_user_names_no_user() -> None:
    assert Driver(user=None).say({"type": "hello"})[0]["payload"]["user"] is None


def test_a_second_hello_is_unexpected() -> None:
    driver = Driver().open()
    assert gist(driver.say({"type": "hello"})) == [("error", None, "unexpected_hello")]


def test_the_client_id_is_that_of_the_hello_or_else_the_connection_id() -> None:
    driver = Driver()
    driver.say({"type": "hello", "payload": {"client": "b1946ac9"}})
    assert driver.protocol.client == "b1946ac9"
    assert Driver().open().protocol.client == "s1"


def test_messages_after_a_hello_with_a_token_wait_for_its_user() -> None:
    driver = Driver(user=None)
    assert driver.say({"type": "hello", "payload": {"token": "t"}}) == []
    assert driver.asked == [Authenticate("t", None)]
    assert driver.join(1, "rooms/lobby") == []
    assert driver.say("{") == []
    frames = driver.take(driver.protocol.authenticated("9", None))
    assert gist(frames) == [("welcome", None), ("error", None, "malformed")]
    assert frames[0]["payload"]["user"] == "9"
    assert driver.last() == Admit(1, "rooms/lobby", None)


def test_messages_that_come_too_fast_while_authenticating_are_answered_after_the_welcome() -> None:
    driver = Driver(user=None, burst=2, messages_per_second=1)
    driver.say({"type": "hello", "payload": {"token": "t"}})
    for _ in range(3):
        assert driver.say({"type": "ping"}) == []
    frames = driver.take(driver.protocol.authenticated("9", None))
    assert gist(frames) == [
        ("welcome", None),
        ("pong", None),
        ("error", None, "rate_limited"),
        ("error", None, "rate_limited"),
    ]


def test_an_invalid_token_ends_the_connection_without_a_welcome() -> None:
    driver = Driver()
    driver.say({"type": "hello", "payload": {"token": "t"}})
    assert gist(driver.take(driver.protocol.not_authenticated(None))) == [
        ("goodbye", None, "unauthenticated")
    ]
    assert driver.last() == Hangup(codes.UNAUTHENTICATED)


# ── 2.2 join, 2.6 leave ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_join_is_decided_by_the_driver_and_answered() -> None:
    driver = Driver().open()
    assert driver.join(1, "rooms/lobby", since={"epoch": "k3", "offset": 41}) == []
    asked = driver.last()
    assert isinstance(asked, Admit)
    assert (asked.ref, asked.topic, str(asked.since)) == (1, "rooms/lobby", "k3:41")
    assert gist(driver.let_in(1, "rooms/lobby")) == [("joined", 1)]
    assert driver.protocol.has_joined("rooms/lobby")


def test_a_topic_is_joined_once() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    assert gist(driver.join(2, "a")) == [("error", 2, "already_joined")]
    driver.let_in(1, "a")
    assert gist(driver.join(3, "a")) == [("error", 3, "already_joined")]


def test_no_more_topics_are_joined_than_allowed() -> None:
    driver = Driver(topics=2).open().joined(1, "a")
    driver.join(2, "b")
    assert gist(driver.join(3, "c")) == [("error", 3, "too_many_topics")]
    driver.refuse(2, "b", codes.FORBIDDEN)
    driver.join(4, "c")
    assert driver.last() == Admit(4, "c", None)


def test_a_refused_join_can_be_tried_again() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    assert gist(driver.refuse(1, "a", codes.UNAVAILABLE)) == [("error", 1, "unavailable")]
    driver.join(2, "a")
    assert gist(driver.let_in(2, "a")) == [("joined", 2)]


def test_a_leave_releases_the_topic_before_it_is_answered() -> None:
    driver = Driver().open().joined(1, "a")
    assert gist(driver.leave(2, "a")) == [("left", 2)]
    assert driver.last() == Release("a")
    assert gist(driver.leave(3, "a")) == [("error", 3, "not_joined")]


def test_a_leave_waits_for_the_join_before_it() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    assert driver.leave(2, "a") == []
    assert gist(driver.let_in(1, "a")) == [("joined", 1), ("left", 2)]
    assert not driver.protocol.has_joined("a")


def test_a_leave_after_a_refused_join_is_answered_with_not_joined() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    driver.leave(2, "a")
    assert gist(driver.refuse(1, "a", codes.FORBIDDEN)) == [
        ("error", 1, "forbidden"),
        ("error", 2, "not_joined"),
    ]


def test_joins_and_leaves_before_the_decision_keep_their_order() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    driver.leave(2, "a")
    assert driver.join(3, "a") == []
    assert gist(driver.join(4, "a")) == [("error", 4, "already_joined")]
    driver.leave(5, "a")
    assert gist(driver.leave(6, "a")) == [("error", 6, "not_joined")]
    driver.join(7, "a")
    assert gist(driver.let_in(1, "a")) == [("joined", 1), ("left", 2)]
    assert driver.last() == Admit(3, "a", None)
    assert gist(driver.refuse(3, "a", codes.UNAVAILABLE)) == [
        ("error", 3, "unavailable"),
        ("error", 5, "not_joined"),
    ]
    assert driver.last() == Admit(7, "a", None)
    assert gist(driver.let_in(7, "a")) == [("joined", 7)]
    assert driver.protocol.has_joined("a")


def test_a_bounded_number_of_joins_and_leaves_waits() -> None:
    driver = Driver(burst=1000).open()
    driver.join(0, "a")
    for ref in range(1, PENDING_PER_TOPIC + 1):
        assert (driver.leave if ref % 2 else driver.join)(ref, "a") == []
    assert gist(driver.leave(99, "a")) == [("error", 99, "rate_limited")]


def test_a_topic_joined_by_an_alias_is_known_by_both_names() -> None:
    driver = Driver().open()
    driver.join(1, "notes/me")
    assert driver.let_in(1, "notes/me", "notes/7")[0]["topic"] == "notes/7"
    assert gist(driver.join(2, "notes/me")) == [("error", 2, "already_joined")]
    assert gist(driver.join(3, "notes/7")) == [("error", 3, "already_joined")]
    for name in ("notes/me", "notes/7"):
        driver.say({"type": "call", "ref": 4, "topic": name, "name": "post"})
        call = driver.last()
        assert isinstance(call, Perform)
        assert driver.protocol.canonical(call.topic) == "notes/7"
    assert driver.leave(5, "notes/7") == [{"type": "left", "topic": "notes/7", "ref": 5}]
    assert driver.last() == Release("notes/7")
    assert gist(driver.leave(6, "notes/me")) == [("error", 6, "not_joined")]


@pytest.mark.parametrize("order", [("notes/me", "notes/7"), ("notes/7", "notes/me")])
def test_two_names_of_one_topic_are_not_both_joined(order: tuple[str, str]) -> None:
    driver = Driver().open()
    for ref, name in enumerate(order):
        driver.join(ref, name)
    admissions = [driver.protocol.admitted(name, "notes/7") for name in order]
    assert admissions.count(True) <= 1


def test_the_client_is_informed_when_its_subscription_is_ended() -> None:
    driver = Driver().open().joined(1, "a")
    frames = driver.take(driver.protocol.expelled("a", codes.FORBIDDEN))
    assert gist(frames) == [("left", None, "forbidden")]
    assert driver.last() == Release("a")
    assert driver.protocol.expelled("a", codes.FORBIDDEN) == []


# ── 2.5 call, 2.7 refresh, 2.8 ping ───────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_performed_and_answered() -> None:
    driver = Driver().open().joined(1, "a")
    driver.say(
        {"type": "call", "ref": 2, "topic": "a", "name": "post", "key": "k-1", "payload": {"body": "hi"}}
    )
    assert driver.last() == Perform(2, "a", "post", "k-1", b'{"body": "hi"}')
    assert driver.take(driver.protocol.performed(2, b"913")) == [{"type": "result", "ref": 2, "payload": 913}]


def test_a_call_needs_a_join() -> None:
    driver = Driver().open()
    driver.join(1, "a")
    frames = driver.say({"type": "call", "ref": 2, "topic": "a", "name": "post"})
    assert gist(frames) == [("error", 2, "not_joined")]


def test_a_call_without_a_ref_gets_no_answer() -> None:
    driver = Driver(calls=1).open()
    call = {"type": "call", "topic": "a", "name": "post"}
    assert driver.say(call) == []
    driver.joined(1, "a")
    driver.say(call)
    assert driver.say(call) == []
    assert driver.fail(None, "a", codes.INTERNAL) == []
    driver.say(call)
    assert driver.take(driver.protocol.performed(None, b"1")) == []
    assert len([effect for effect in driver.asked if isinstance(effect, Perform)]) == 2


def test_no_more_calls_run_than_allowed() -> None:
    driver = Driver(calls=2).open().joined(1, "a")
    for ref in (2, 3):
        driver.say({"type": "call", "ref": ref, "topic": "a", "name": "post"})
    frames = driver.say({"type": "call", "ref": 4, "topic": "a", "name": "post"})
    assert gist(frames) == [("error", 4, "too_many_calls")]
    driver.fail(2, "a", codes.INTERNAL)
    driver.say({"type": "call", "ref": 5, "topic": "a", "name": "post"})
    assert driver.last() == Perform(5, "a", "post", None, b"")


def test_a_call_that_was_answered_with_timeout_counts_until_it_ends() -> None:
    driver = Driver(calls=1).open().joined(1, "a")
    driver.say({"type": "call", "ref": 2, "topic": "a", "name": "post"})
    payload = ErrorPayload(code="timeout", message="")
    assert gist(driver.take(driver.protocol.failed(2, "a", payload, running=True))) == [
        ("error", 2, "timeout")
    ]
    assert driver.protocol.calls == 0  # a server that drains does not wait for it
    frames = driver.say({"type": "call", "ref": 3, "topic": "a", "name": "post"})
    assert gist(frames) == [("error", 3, "too_many_calls")]
    driver.protocol.late_call_ended()
    driver.say({"type": "call", "ref": 4, "topic": "a", "name": "post"})
    assert driver.last() == Perform(4, "a", "post", None, b"")


def test_a_ping_is_answered() -> None:
    assert Driver().open().say({"type": "ping"}) == [{"type": "pong"}]


def test_a_refresh_for_the_same_user_is_answered() -> None:
    driver = Driver(user="7").open()
    driver.say({"type": "refresh", "ref": 4, "payload": {"token": "t2"}})
    assert driver.last() == Authenticate("t2", 4)
    frames = driver.take(driver.protocol.authenticated("7", 4))
    assert frames == [{"type": "result", "ref": 4, "payload": {"user": "7"}}]


def test_a_bad_refresh_changes_nothing() -> None:
    driver = Driver(user="7").open()
    assert gist(driver.take(driver.protocol.not_authenticated(4))) == [("error", 4, "invalid_token")]
    assert driver.protocol.phase is Phase.OPEN


def test_a_refresh_with_another_users_token_ends_the_connection() -> None:
    driver = Driver(user="7").open()
    frames = driver.take(driver.protocol.authenticated("8", 4))
    assert gist(frames) == [("goodbye", None, "unauthenticated")]


def test_a_client_that_is_silent_for_two_and_a_half_heartbeats_is_closed() -> None:
    driver = Driver(heartbeat=10).open()
    assert driver.take(driver.protocol.check(124.9)) == []
    driver.say({"type": "ping"}, after=20)
    assert driver.protocol.check(125.0) == []
    assert gist(driver.take(driver.protocol.check(145.0))) == [("goodbye", None, "heartbeat_missed")]


def test_the_first_check_comes_in_time_to_probe_a_client_that_said_hello_at_once() -> None:
    driver = Driver(heartbeat=4, hello_seconds=10)
    first = driver.protocol.next_check(driver.now)
    driver.say({"type": "hello"})
    assert first <= driver.now + 1.5 * 4
    assert driver.protocol.next_check(first) <= driver.now + 2.5 * 4


def test_a_client_that_is_silent_for_one_and_a_half_heartbeats_is_probed() -> None:
    driver = Driver(heartbeat=10).open().protocol
    assert driver.next_check(100.0) == 115.0
    assert driver.check(114.9) == []
    assert driver.check(115.0) == [Probe(frames.PingFrame())]
    assert driver.next_check(115.0) == 125.0
    driver.show_life(115.2)
    assert driver.check(125.0) == []
    assert driver.next_check(125.0) == 130.2


def test_a_client_is_not_probed_before_its_welcome_and_a_pong_does_not_replace_its_first_message() -> None:
    driver = Driver(heartbeat=10, hello_seconds=60)
    assert driver.protocol.check(115.0) == []
    driver.protocol.show_life(115.0)
    said = driver.take(driver.protocol.check(125.0))
    assert gist(said) == [("welcome", None), ("goodbye", None, "heartbeat_missed")]


def test_a_client_that_says_nothing_is_closed_before_its_first_heartbeat() -> None:
    driver = Driver(hello_seconds=5)
    assert driver.protocol.next_check(100.0) == 105.0
    driver.protocol.show_life(104.0)
    assert gist(driver.take(driver.protocol.check(105.0))) == [
        ("welcome", None),
        ("goodbye", None, "heartbeat_missed"),
    ]


def test_a_client_that_has_said_hello_has_the_time_of_a_heartbeat() -> None:
    driver = Driver(hello_seconds=5).open()
    assert driver.protocol.check(110.0) == []
    assert driver.protocol.next_check(110.0) == 137.5


# ── 2.9 goodbye ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_goodbye_says_whether_and_when_to_reconnect() -> None:
    driver = Driver().open()
    frames = driver.take(driver.protocol.hang_up(codes.DRAINING, after=3.2))
    assert frames == [{"type": "goodbye", "payload": {"code": "draining", "reconnect": True, "after": 3.2}}]
    assert driver.last() == Hangup(codes.DRAINING)


def test_nothing_comes_after_the_goodbye() -> None:
    driver = Driver().open().joined(1, "a")
    driver.join(2, "b")
    driver.join(3, "c")
    driver.say({"type": "call", "ref": 4, "topic": "a", "name": "post"})
    machine = driver.protocol
    machine.hang_up(codes.DRAINING)
    assert driver.let_in(2, "b") == []
    assert driver.refuse(3, "c", codes.FORBIDDEN) == []
    assert machine.performed(4, b"1") == machine.failed(4, "a", codes) == []  # type: ignore[arg-type]
    assert machine.expelled("a", codes.FORBIDDEN) == machine.hang_up(codes.FAILED) == machine.check(1e9) == []
    assert driver.say({"type": "ping"}) == []
    assert not machine.has_joined("b")


# ── 3 what a bad message does ─────────────────────────────────────────────────────────────────────────────────────────

DEEP = '{"type":"ping","x":' + "[" * 30000 + "]" * 30000 + "}"  # deeper than any supported Python follows


@pytest.mark.parametrize(
    ("message", "code", "ref"),
    [
        ("", "malformed", None),
        ("hello?", "malformed", None),
        (b"\xff\xfe", "malformed", None),
        ("\ud800", "malformed", None),
        (DEEP, "malformed", None),
        ("[]", "invalid_message", None),
        ("null", "invalid_message", None),
        ("{}", "invalid_message", None),
        (text(type=7), "invalid_message", None),
        (text(type="join", topic="a"), "invalid_message", None),
        (text(type="join", ref=1), "invalid_message", 1),
        (text(type="join", ref=-1, topic="a"), "invalid_message", None),
        (text(type="join", ref=2**53, topic="a"), "invalid_message", None),
        (text(type="join", ref="1", topic="a"), "invalid_message", None),
        (text(type="join", ref=1, topic=""), "invalid_message", 1),
        (text(type="join", ref=1, topic="a" * 256), "invalid_message", 1),
        (
            text(type="join", ref=1, topic="a", payload={"since": {"epoch": "k", "offset": -1}}),
            "invalid_message",
            1,
        ),
        (text(type="call", ref=1, topic="a", name="post", key="a b"), "invalid_message", 1),
        (text(type="refresh", ref=1), "invalid_message", 1),
        (text(type="hello", payload={"client": "not valid"}), "invalid_message", None),
        (text(type="subscribe", ref=1), "unknown_type", 1),
        (text(type="welcome"), "unknown_type", None),
        ("x" * 65537, "too_large", None),
        ("ä" * 40000, "too_large", None),
    ],
    ids=range(24),
)
def test_an_invalid_message_is_answered_and_the_connection_stays_open(
    message: str | bytes, code: str, ref: int | None
) -> None:
    driver = Driver().open()
    assert gist(driver.say(message)) == [("error", ref, code)]
    assert gist(driver.say({"type": "ping"})) == [("pong", None)]


def test_unknown_fields_are_ignored() -> None:
    assert Driver().open().say({"type": "ping", "colour": "red"}) == [{"type": "pong"}]


def test_a_text_on_a_binary_connection_is_malformed() -> None:
    protocol = ServerProtocol(id="s", user=None, codec=MSGPACK, limits=Limits(), now=0.0)
    frames = [JSON.encode(effect.frame) for effect in protocol.receive('{"type":"ping"}', 0.0)]  # type: ignore[attr-defined]
    assert "malformed" in str(frames[1])


def test_messages_above_the_rate_are_answered_with_the_time_to_retry() -> None:
    driver = Driver(burst=2, messages_per_second=4).open()
    driver.say({"type": "ping"})
    frames = driver.leave(5, "a")
    assert gist(frames) == [("error", 5, "rate_limited")]
    assert frames[0]["payload"]["retry_after"] == 0.25
    assert driver.say({"type": "ping"}, after=0.25) == [{"type": "pong"}]


def test_a_client_that_does_not_slow_down_is_closed() -> None:
    driver = Driver(burst=2, messages_per_second=4, heartbeat=25).open()
    for _ in range(FLOOD + 3):
        driver.say({"type": "ping"})
    assert gist(driver.sent[-2:]) == [("error", None, "rate_limited"), ("goodbye", None, "flooding")]
    assert driver.last() == Hangup(codes.FLOODING)


def test_a_client_gets_an_error_then_is_slowed_then_closed() -> None:
    driver = Driver(burst=2, messages_per_second=4).open()
    for _ in range(FLOOD + 3):
        driver.say({"type": "ping"})
    told = [effect for effect in driver.asked if not isinstance(effect, Limited)]
    assert told == [SlowDown(SLOW_SECONDS)] * 4 + [Hangup(codes.FLOODING)]
    limited = [effect for effect in driver.asked if isinstance(effect, Limited)]
    assert [effect.what for effect in limited] == ["messages"] * (FLOOD + 1)


def test_bytes_above_the_rate_are_answered_with_the_time_to_retry() -> None:
    driver = Driver(bytes_per_second=100, byte_burst=200).open()
    large = {"type": "leave", "ref": 5, "topic": "x" * 100}
    driver.say(large)
    [refused] = driver.say(large)
    assert refused["payload"]["code"] == "rate_limited"
    assert 0 < refused["payload"]["retry_after"] < 2
    assert gist(driver.say(large, after=refused["payload"]["retry_after"])) == [("error", 5, "not_joined")]


def test_a_text_is_weighed_in_bytes() -> None:
    driver = Driver(bytes_per_second=1, byte_burst=200).open()
    [refused] = driver.say({"type": "leave", "ref": 5, "topic": "€" * 40}.__repr__().replace("'", '"'))
    assert gist([refused]) == [("error", 5, "not_joined")]
    assert gist(driver.say('{"type":"leave","ref":6,"topic":"' + "€" * 20 + '"}')) == [
        ("error", 6, "rate_limited")
    ]


def test_joins_above_the_rate_are_answered_with_the_time_to_retry() -> None:
    driver = Driver(joins_per_second=2, join_burst=2).open()
    for ref, topic in enumerate(("a", "b")):
        driver.joined(ref, topic)
    [refused] = driver.join(7, "c")
    assert gist([refused]) == [("error", 7, "rate_limited")]
    assert refused["payload"]["retry_after"] == 0.5
    limited = driver.last()
    assert isinstance(limited, Limited)
    assert (limited.what, limited.retry_after) == ("joins", pytest.approx(0.5))
    driver.now += 0.5
    driver.joined(8, "c")
    assert gist(driver.sent[-1:]) == [("joined", 8)]


def test_connections_that_share_a_meter_share_its_rates() -> None:
    limits = Limits(burst=2, messages_per_second=4)
    shared = Meter(pace_of(limits, 1.5))
    drivers = [Driver(burst=2, messages_per_second=4) for _ in range(2)]
    for driver in drivers:
        driver.protocol.conduct.shared = shared
    answers = [gist(driver.say({"type": "ping"}))[-1][0] for driver in drivers * 2]
    assert answers == ["pong", "pong", "pong", "error"]


def test_a_few_valid_messages_do_not_excuse_a_flood() -> None:
    driver = Driver().open()
    for _ in range(3):
        for _ in range(FLOOD // 2):
            driver.say("{", after=0.02)
        driver.say({"type": "ping"}, after=0.02)
    assert driver.protocol.phase is Phase.CLOSED


def test_an_occasional_invalid_message_is_not_a_flood() -> None:
    driver = Driver().open()
    for _ in range(3 * FLOOD):
        driver.say("{", after=0.1)
        driver.say({"type": "ping"}, after=0.1)
    assert driver.protocol.phase is Phase.OPEN

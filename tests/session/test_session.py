"""The session, by the sections of PROTOCOL.md."""

import pytest

from holdfast.protocol import codes, frames
from holdfast.protocol.codec import JSON, MSGPACK
from holdfast.session.effects import Admit, Authenticate, Hangup, Perform, Probe, Release
from holdfast.session.session import FLOOD, MOVES, Limits, Phase, Session

from .driver import Driver, gist, text

# ── 2.1 hello and welcome ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_message_is_answered_with_a_welcome() -> None:
    session = Driver(user="7", message_bytes=1000, topics=3, calls=4, heartbeat=20)
    assert session.say({"type": "hello"}) == [
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
def test_a_client_that_does_not_say_hello_is_welcomed_all_the_same(first: str) -> None:
    assert Driver().say(first)[0]["type"] == "welcome"


def test_an_anonymous_user_is_null() -> None:
    assert Driver(user=None).say({"type": "hello"})[0]["payload"]["user"] is None


def test_a_second_hello_is_unexpected() -> None:
    session = Driver().open()
    assert gist(session.say({"type": "hello"})) == [("error", None, "unexpected_hello")]


def test_the_client_is_named_by_its_hello_or_else_by_the_session() -> None:
    session = Driver()
    session.say({"type": "hello", "payload": {"client": "b1946ac9"}})
    assert session.session.client == "b1946ac9"
    assert Driver().open().session.client == "s1"


def test_a_hello_with_a_token_waits_for_the_user() -> None:
    session = Driver(user=None)
    assert session.say({"type": "hello", "payload": {"token": "t"}}) == []
    assert session.asked == [Authenticate("t", None)]
    assert session.join(1, "rooms/lobby") == []
    assert session.say("{") == []
    frames = session.take(session.session.authenticated("9", None))
    assert gist(frames) == [("welcome", None), ("error", None, "malformed")]
    assert frames[0]["payload"]["user"] == "9"
    assert session.last() == Admit(1, "rooms/lobby", None)


def test_messages_that_come_too_fast_while_authenticating_are_answered_after_the_welcome() -> None:
    session = Driver(user=None, burst=2, messages_per_second=1)
    session.say({"type": "hello", "payload": {"token": "t"}})
    for _ in range(3):
        assert session.say({"type": "ping"}) == []
    frames = session.take(session.session.authenticated("9", None))
    assert gist(frames) == [
        ("welcome", None),
        ("pong", None),
        ("error", None, "rate_limited"),
        ("error", None, "rate_limited"),
    ]


def test_a_token_that_is_nobodys_ends_the_connection_without_a_welcome() -> None:
    session = Driver()
    session.say({"type": "hello", "payload": {"token": "t"}})
    assert gist(session.take(session.session.not_authenticated(None))) == [
        ("goodbye", None, "unauthenticated")
    ]
    assert session.last() == Hangup(codes.UNAUTHENTICATED)


# ── 2.2 join, 2.6 leave ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_join_is_asked_for_and_answered() -> None:
    session = Driver().open()
    assert session.join(1, "rooms/lobby", since={"epoch": "k3", "offset": 41}) == []
    asked = session.last()
    assert isinstance(asked, Admit)
    assert (asked.ref, asked.topic, str(asked.since)) == (1, "rooms/lobby", "k3:41")
    assert gist(session.let_in(1, "rooms/lobby")) == [("joined", 1)]
    assert session.session.has_joined("rooms/lobby")


def test_a_topic_is_joined_once() -> None:
    session = Driver().open()
    session.join(1, "a")
    assert gist(session.join(2, "a")) == [("error", 2, "already_joined")]
    session.let_in(1, "a")
    assert gist(session.join(3, "a")) == [("error", 3, "already_joined")]


def test_no_more_topics_are_joined_than_allowed() -> None:
    session = Driver(topics=2).open().joined(1, "a")
    session.join(2, "b")
    assert gist(session.join(3, "c")) == [("error", 3, "too_many_topics")]
    session.refuse(2, "b", codes.FORBIDDEN)
    session.join(4, "c")
    assert session.last() == Admit(4, "c", None)


def test_a_refused_join_can_be_tried_again() -> None:
    session = Driver().open()
    session.join(1, "a")
    assert gist(session.refuse(1, "a", codes.UNAVAILABLE)) == [("error", 1, "unavailable")]
    session.join(2, "a")
    assert gist(session.let_in(2, "a")) == [("joined", 2)]


def test_a_leave_releases_the_topic_before_it_is_answered() -> None:
    session = Driver().open().joined(1, "a")
    assert gist(session.leave(2, "a")) == [("left", 2)]
    assert session.last() == Release("a")
    assert gist(session.leave(3, "a")) == [("error", 3, "not_joined")]


def test_a_leave_waits_for_the_join_before_it() -> None:
    session = Driver().open()
    session.join(1, "a")
    assert session.leave(2, "a") == []
    assert gist(session.let_in(1, "a")) == [("joined", 1), ("left", 2)]
    assert not session.session.has_joined("a")


def test_a_leave_of_a_join_that_is_refused_is_not_joined() -> None:
    session = Driver().open()
    session.join(1, "a")
    session.leave(2, "a")
    assert gist(session.refuse(1, "a", codes.FORBIDDEN)) == [
        ("error", 1, "forbidden"),
        ("error", 2, "not_joined"),
    ]


def test_joins_and_leaves_that_come_before_the_decision_keep_their_order() -> None:
    session = Driver().open()
    session.join(1, "a")
    session.leave(2, "a")
    assert session.join(3, "a") == []
    assert gist(session.join(4, "a")) == [("error", 4, "already_joined")]
    session.leave(5, "a")
    assert gist(session.leave(6, "a")) == [("error", 6, "not_joined")]
    session.join(7, "a")
    assert gist(session.let_in(1, "a")) == [("joined", 1), ("left", 2)]
    assert session.last() == Admit(3, "a", None)
    assert gist(session.refuse(3, "a", codes.UNAVAILABLE)) == [
        ("error", 3, "unavailable"),
        ("error", 5, "not_joined"),
    ]
    assert session.last() == Admit(7, "a", None)
    assert gist(session.let_in(7, "a")) == [("joined", 7)]
    assert session.session.has_joined("a")


def test_only_so_many_joins_and_leaves_wait() -> None:
    session = Driver(burst=1000).open()
    session.join(0, "a")
    for ref in range(1, MOVES + 1):
        assert (session.leave if ref % 2 else session.join)(ref, "a") == []
    assert gist(session.leave(99, "a")) == [("error", 99, "rate_limited")]


def test_a_topic_joined_by_another_name_answers_to_both() -> None:
    session = Driver().open()
    session.join(1, "notes/me")
    assert session.let_in(1, "notes/me", "notes/7")[0]["topic"] == "notes/7"
    assert gist(session.join(2, "notes/me")) == [("error", 2, "already_joined")]
    assert gist(session.join(3, "notes/7")) == [("error", 3, "already_joined")]
    for name in ("notes/me", "notes/7"):
        session.say({"type": "call", "ref": 4, "topic": name, "name": "post"})
        call = session.last()
        assert isinstance(call, Perform)
        assert session.session.canonical(call.topic) == "notes/7"
    assert session.leave(5, "notes/7") == [{"type": "left", "topic": "notes/7", "ref": 5}]
    assert session.last() == Release("notes/7")
    assert gist(session.leave(6, "notes/me")) == [("error", 6, "not_joined")]


@pytest.mark.parametrize("order", [("notes/me", "notes/7"), ("notes/7", "notes/me")])
def test_two_names_of_one_topic_are_not_both_joined(order: tuple[str, str]) -> None:
    session = Driver().open()
    for ref, name in enumerate(order):
        session.join(ref, name)
    admissions = [session.session.admitted(name, "notes/7") for name in order]
    assert admissions.count(True) <= 1


def test_the_end_of_a_right_is_told() -> None:
    session = Driver().open().joined(1, "a")
    frames = session.take(session.session.expelled("a", codes.FORBIDDEN))
    assert gist(frames) == [("left", None, "forbidden")]
    assert session.last() == Release("a")
    assert session.session.expelled("a", codes.FORBIDDEN) == []


# ── 2.5 call, 2.7 refresh, 2.8 ping ──────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_performed_and_answered() -> None:
    session = Driver().open().joined(1, "a")
    session.say(
        {"type": "call", "ref": 2, "topic": "a", "name": "post", "key": "k-1", "payload": {"body": "hi"}}
    )
    assert session.last() == Perform(2, "a", "post", "k-1", b'{"body": "hi"}')
    assert session.take(session.session.performed(2, b"913")) == [
        {"type": "result", "ref": 2, "payload": 913}
    ]


def test_a_call_needs_a_join() -> None:
    session = Driver().open()
    session.join(1, "a")
    frames = session.say({"type": "call", "ref": 2, "topic": "a", "name": "post"})
    assert gist(frames) == [("error", 2, "not_joined")]


def test_without_a_ref_nothing_is_answered() -> None:
    session = Driver(calls=1).open()
    call = {"type": "call", "topic": "a", "name": "post"}
    assert session.say(call) == []
    session.joined(1, "a")
    session.say(call)
    assert session.say(call) == []
    assert session.fail(None, "a", codes.INTERNAL) == []
    session.say(call)
    assert session.take(session.session.performed(None, b"1")) == []
    assert len([effect for effect in session.asked if isinstance(effect, Perform)]) == 2


def test_no_more_calls_run_than_allowed() -> None:
    session = Driver(calls=2).open().joined(1, "a")
    for ref in (2, 3):
        session.say({"type": "call", "ref": ref, "topic": "a", "name": "post"})
    frames = session.say({"type": "call", "ref": 4, "topic": "a", "name": "post"})
    assert gist(frames) == [("error", 4, "too_many_calls")]
    session.fail(2, "a", codes.INTERNAL)
    session.say({"type": "call", "ref": 5, "topic": "a", "name": "post"})
    assert session.last() == Perform(5, "a", "post", None, b"")


def test_a_ping_is_answered() -> None:
    assert Driver().open().say({"type": "ping"}) == [{"type": "pong"}]


def test_a_refresh_for_the_same_user_is_answered() -> None:
    session = Driver(user="7").open()
    session.say({"type": "refresh", "ref": 4, "payload": {"token": "t2"}})
    assert session.last() == Authenticate("t2", 4)
    frames = session.take(session.session.authenticated("7", 4))
    assert frames == [{"type": "result", "ref": 4, "payload": {"user": "7"}}]


def test_a_bad_refresh_changes_nothing() -> None:
    session = Driver(user="7").open()
    assert gist(session.take(session.session.not_authenticated(4))) == [("error", 4, "invalid_token")]
    assert session.session.phase is Phase.OPEN


def test_a_refresh_with_anothers_token_ends_the_connection() -> None:
    session = Driver(user="7").open()
    frames = session.take(session.session.authenticated("8", 4))
    assert gist(frames) == [("goodbye", None, "unauthenticated")]


def test_a_client_that_is_silent_for_two_and_a_half_heartbeats_is_hung_up_on() -> None:
    session = Driver(heartbeat=10).open()
    assert session.take(session.session.check(124.9)) == []
    session.say({"type": "ping"}, after=20)
    assert session.session.check(125.0) == []
    assert gist(session.take(session.session.check(145.0))) == [("goodbye", None, "heartbeat_missed")]


def test_a_client_that_is_silent_for_one_and_a_half_heartbeats_is_asked_for_a_sign_of_life() -> None:
    session = Driver(heartbeat=10).open().session
    assert session.next_check(100.0) == 115.0
    assert session.check(114.9) == []
    assert session.check(115.0) == [Probe(frames.Ping())]
    assert session.next_check(115.0) == 125.0
    session.show_life(115.2)
    assert session.check(125.0) == []
    assert session.next_check(125.0) == 130.2


def test_a_client_is_not_asked_before_its_welcome_and_no_pong_stands_for_a_first_message() -> None:
    session = Driver(heartbeat=10)
    assert session.session.check(115.0) == []
    session.session.show_life(115.0)
    said = session.take(session.session.check(125.0))
    assert gist(said) == [("welcome", None), ("goodbye", None, "heartbeat_missed")]


# ── 2.9 goodbye ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_goodbye_says_whether_and_when_to_come_back() -> None:
    session = Driver().open()
    frames = session.take(session.session.hang_up(codes.DRAINING, after=3.2))
    assert frames == [{"type": "goodbye", "payload": {"code": "draining", "reconnect": True, "after": 3.2}}]
    assert session.last() == Hangup(codes.DRAINING)


def test_nothing_comes_after_the_goodbye() -> None:
    session = Driver().open().joined(1, "a")
    session.join(2, "b")
    session.join(3, "c")
    session.say({"type": "call", "ref": 4, "topic": "a", "name": "post"})
    machine = session.session
    machine.hang_up(codes.DRAINING)
    assert session.let_in(2, "b") == []
    assert session.refuse(3, "c", codes.FORBIDDEN) == []
    assert machine.performed(4, b"1") == machine.failed(4, "a", codes) == []  # type: ignore[arg-type]
    assert machine.expelled("a", codes.FORBIDDEN) == machine.hang_up(codes.FAILED) == machine.check(1e9) == []
    assert session.say({"type": "ping"}) == []
    assert not machine.has_joined("b")


# ── 3 what a bad message does ────────────────────────────────────────────────────────────────────────────────────────

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
def test_a_bad_message_is_answered_and_the_connection_goes_on(
    message: str | bytes, code: str, ref: int | None
) -> None:
    session = Driver().open()
    assert gist(session.say(message)) == [("error", ref, code)]
    assert gist(session.say({"type": "ping"})) == [("pong", None)]


def test_unknown_fields_are_ignored() -> None:
    assert Driver().open().say({"type": "ping", "colour": "red"}) == [{"type": "pong"}]


def test_a_text_on_a_binary_connection_is_malformed() -> None:
    session = Session(id="s", user=None, codec=MSGPACK, limits=Limits(), now=0.0)
    frames = [JSON.encode(effect.frame) for effect in session.receive('{"type":"ping"}', 0.0)]  # type: ignore[attr-defined]
    assert "malformed" in str(frames[1])


def test_messages_beyond_the_rate_are_told_when_to_come_again() -> None:
    session = Driver(burst=2, messages_per_second=4).open()
    session.say({"type": "ping"})
    frames = session.leave(5, "a")
    assert gist(frames) == [("error", 5, "rate_limited")]
    assert frames[0]["payload"]["retry_after"] == 0.25
    assert session.say({"type": "ping"}, after=0.25) == [{"type": "pong"}]


def test_a_client_that_does_not_slow_down_is_hung_up_on() -> None:
    session = Driver(burst=2, messages_per_second=4, heartbeat=25).open()
    for _ in range(FLOOD + 3):
        session.say({"type": "ping"})
    assert gist(session.sent[-2:]) == [("error", None, "rate_limited"), ("goodbye", None, "flooding")]
    assert session.sent[-1]["payload"]["after"] == 25
    assert session.last() == Hangup(codes.FLOODING)


def test_a_good_message_now_and_then_does_not_excuse_a_flood() -> None:
    session = Driver().open()
    for _ in range(3):
        for _ in range(FLOOD // 2):
            session.say("{", after=0.02)
        session.say({"type": "ping"}, after=0.02)
    assert session.session.phase is Phase.CLOSED


def test_a_bad_message_now_and_then_is_no_flood() -> None:
    session = Driver().open()
    for _ in range(3 * FLOOD):
        session.say("{", after=0.1)
        session.say({"type": "ping"}, after=0.1)
    assert session.session.phase is Phase.OPEN

"""Messages that wait for the verification of a token, and tokens under way."""

from holdfast.protocol import codes
from holdfast.protocol.effects import Admit, Authenticate, Perform

from .driver import Driver

HELLO = {"type": "hello", "payload": {"token": "t"}}


def test_messages_behind_a_token_are_bounded_by_message_bytes_together() -> None:
    driver = Driver(None, message_bytes=1000)
    driver.say(HELLO)
    for ref in range(10):
        driver.say({"type": "join", "ref": ref, "topic": "x" * 200})

    answers = driver.take(driver.protocol.authenticated("7", None))
    assert [effect.ref for effect in driver.asked if isinstance(effect, Admit)] == [0]
    assert [answer["type"] for answer in answers] == ["welcome"] + ["error"] * 9
    assert [answer["payload"]["code"] for answer in answers[1:]] == ["already_joined"] * 3 + [
        "rate_limited"
    ] * 6
    assert [answer["ref"] for answer in answers[1:]] == list(range(1, 10))


def test_messages_that_find_no_room_count_as_a_flood() -> None:
    driver = Driver(None, message_bytes=1000, messages_per_second=1e6, burst=1e6)
    driver.say(HELLO)
    for ref in range(110):
        driver.say({"type": "join", "ref": ref, "topic": "x" * 200})

    assert driver.sent[-1]["payload"]["code"] == "flooding"


def test_a_second_token_is_refused_until_the_first_is_verified() -> None:
    driver = Driver().open()
    refresh = {"type": "refresh", "payload": {"token": "t"}}
    assert driver.say({**refresh, "ref": 1}) == []
    (refused,) = driver.say({**refresh, "ref": 2})
    driver.take(driver.protocol.not_authenticated(1))
    assert driver.say({**refresh, "ref": 3}) == []
    driver.take(driver.protocol.authenticated("7", 3))
    assert driver.say({**refresh, "ref": 4}) == []

    assert (refused["ref"], refused["payload"]["code"]) == (2, codes.RATE_LIMITED.name)
    assert refused["payload"]["retry_after"] > 0
    assert [effect.ref for effect in driver.asked if isinstance(effect, Authenticate)] == [1, 3, 4]


def test_calls_that_waited_are_carried_out() -> None:
    driver = Driver(None)
    driver.say(HELLO)
    driver.say({"type": "join", "ref": 1, "topic": "a"})
    driver.say({"type": "call", "ref": 2, "topic": "a", "name": "n"})
    answers = driver.take(driver.protocol.authenticated("7", None))

    assert [answer["type"] for answer in answers] == ["welcome", "error"]  # not joined yet
    assert not any(isinstance(effect, Perform) for effect in driver.asked)

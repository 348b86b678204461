"""The client's side of the protocol, without I/O: the messages that it sends, and its reaction to those that it receives."""

import inspect
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from holdfast.client import blocking, connect
from holdfast.client.client_protocol import ClientProtocol
from holdfast.client.news import Answered, Arrived, Ended, Joined, StreamMoved
from holdfast.protocol.positions import Position

WELCOME = {
    "type": "welcome",
    "payload": {
        "session": "s",
        "user": "7",
        "heartbeat": 25,
        "limits": {"message_bytes": 65536, "topics": 100, "calls": 32},
    },
}


class Server:
    """The other side: it reads the client's messages, and sends those that the test gives it."""

    def __init__(self) -> None:
        self.client = ClientProtocol("ada", lambda: 0.0)
        self.now = 0.0

    def connect(self) -> list[dict[str, Any]]:
        self.client.opened(None, self.now)
        self.say(**WELCOME)
        return self.sent()

    def say(self, **message: Any) -> None:
        self.client.received(json.dumps(message), self.now)

    def sent(self) -> list[dict[str, Any]]:
        messages, self.client.outbox = self.client.outbox, []
        return [json.loads(message) for message in messages]

    def news(self) -> list[Any]:
        news, self.client.news = self.client.news, []
        return news

    def joined(self, ref: int, topic: str = "a", **payload: Any) -> None:
        self.say(type="joined", ref=ref, topic=topic, payload=payload)

    def event(self, offset: int, topic: str = "a") -> None:
        self.say(type="event", topic=topic, name="said", offset=offset, payload={"n": offset})


@pytest.fixture
def server() -> Server:
    return Server()


def join(server: Server, **joined: Any) -> None:
    server.client.join("a", None, server.now)
    server.connect()
    server.joined(1, **(joined or {"epoch": "k", "offset": 5}))
    server.news()


def test_hello_comes_first_and_joins_after_the_welcome(server: Server) -> None:
    server.client.join("a", None, 0.0)
    server.client.opened("secret", 0.0)
    assert server.sent() == [{"type": "hello", "payload": {"client": "ada", "token": "secret"}}]
    server.say(**WELCOME)
    assert server.sent() == [{"type": "join", "ref": 1, "topic": "a", "payload": {}}]


def test_a_new_connection_joins_from_the_last_event(server: Server) -> None:
    join(server)
    server.event(6)
    server.client.lost()
    (hello, rejoin) = server.connect()
    assert hello["payload"]["client"] == "ada"
    assert rejoin["payload"] == {"since": {"epoch": "k", "offset": 6}}


def test_an_event_that_was_heard_before_is_ignored(server: Server) -> None:
    join(server)
    for offset in (6, 7, 6, 7, 8):
        server.event(offset)
    assert [news.frame.offset for news in server.news() if isinstance(news, Arrived)] == [6, 7, 8]


def test_a_position_that_is_not_honoured_is_news(server: Server) -> None:
    join(server)
    server.client.lost()
    server.connect()
    server.joined(2, epoch="new", offset=2, recovered=False)
    joined, moved = server.news()
    assert isinstance(moved, StreamMoved)
    assert moved.reason == "lost"
    assert isinstance(joined, Joined)
    assert server.client.position("a") == Position(epoch="new", offset=2)


def test_a_reset_moves_the_position(server: Server) -> None:
    join(server)
    server.say(type="reset", topic="a", payload={"reason": "trimmed", "epoch": "k", "offset": 90})
    assert server.client.position("a") == Position(epoch="k", offset=90)
    (moved,) = server.news()
    assert moved.reason == "trimmed"


def test_a_call_waits_for_its_topic_and_is_sent_again_with_its_key(server: Server) -> None:
    server.client.join("a", None, 0.0)
    server.client.call("a", "post", None, {"body": "hi"}, 0.0)
    assert [message["type"] for message in server.connect()] == ["hello", "join"]
    server.joined(1 + 1)
    (first,) = server.sent()
    server.client.lost()
    server.connect()
    server.joined(first["ref"] + 1)
    (second,) = server.sent()
    assert second["key"] == first["key"]
    assert second["payload"] == {"body": "hi"}
    server.say(type="result", ref=second["ref"], payload=913)
    assert [news.result for news in server.news() if isinstance(news, Answered)] == [b"913"]


def test_a_call_that_may_succeed_later_is_sent_again_after_the_time_that_the_server_names(
    server: Server,
) -> None:
    join(server)
    server.client.call("a", "post", "k1", {}, 0.0)
    (call,) = server.sent()
    payload = {"code": "rate_limited", "message": "", "retry_after": 3.0}
    server.say(type="error", ref=call["ref"], payload=payload)
    assert server.sent() == []
    server.client.work(2.9)
    assert server.sent() == []
    server.client.work(3.0)
    (again,) = server.sent()
    assert (again["type"], again["key"]) == ("call", "k1")


def test_a_refused_call_is_answered_with_its_error(server: Server) -> None:
    join(server)
    number = server.client.call("a", "post", None, {}, 0.0)
    (call,) = server.sent()
    payload = {"code": "refused", "message": "no", "reason": "too_late"}
    server.say(type="error", ref=call["ref"], payload=payload)
    (answer,) = server.news()
    assert (answer.call, answer.error.code, answer.error.reason) == (number, "refused", "too_late")


@pytest.mark.parametrize("code", ["forbidden", "evicted"])
def test_a_topic_that_the_server_ends_is_over_with_its_calls(server: Server, code: str) -> None:
    join(server)
    server.say(type="left", topic="a", payload={"code": code, "message": ""})
    (ended,) = server.news()
    assert isinstance(ended, Ended)
    assert ended.error.code == code
    server.client.lost()
    assert [message["type"] for message in server.connect()] == ["hello"]


def test_a_topic_that_the_server_cannot_check_is_joined_again(server: Server) -> None:
    join(server)
    server.say(type="left", topic="a", payload={"code": "unavailable", "message": ""})
    server.client.work(1.0)
    (again,) = server.sent()
    assert again["payload"]["since"]["offset"] == 5


def test_a_call_that_waits_ends_when_its_topic_is_left(server: Server) -> None:
    server.client.join("a", None, 0.0)
    number = server.client.call("a", "post", None, {}, 0.0)
    server.client.leave("a")
    (answer,) = server.news()
    assert (answer.call, answer.error.code) == (number, "not_joined")


def test_a_call_whose_topic_was_left_ends_with_the_connection(server: Server) -> None:
    join(server)
    number = server.client.call("a", "post", None, {}, 0.0)
    server.client.leave("a")
    assert server.news() == [], "the server may still answer it"
    server.client.lost()
    (answer,) = server.news()
    assert (answer.call, answer.error.code) == (number, "not_joined")


def test_a_canonical_name_is_used_after_the_join(server: Server) -> None:
    server.client.join("inbox/me", None, 0.0)
    server.connect()
    server.joined(1, topic="inbox/7", epoch="k", offset=0)
    server.client.call("inbox/me", "clear", None, {}, 0.0)
    (call,) = server.sent()
    assert call["topic"] == "inbox/7"
    server.event(1, topic="inbox/7")
    assert server.client.position("inbox/me") == Position(epoch="k", offset=1)


def test_the_client_pings_each_heartbeat_and_finds_a_silent_server_dead(server: Server) -> None:
    join(server)
    server.client.work(24.9)
    assert server.sent() == []
    server.client.work(25.0)
    assert server.sent() == [{"type": "ping"}]
    assert not server.client.dead(34.9)
    assert server.client.dead(35.0)


def test_a_ping_of_the_server_is_answered_at_once(server: Server) -> None:
    join(server)
    server.say(type="ping")
    assert server.sent() == [{"type": "ping"}]


@pytest.mark.parametrize("message", ["", "{}", '{"type":"event"}', '{"type":7}', "[]"])
def test_a_message_that_cannot_be_read_is_an_error(server: Server, message: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        server.client.received(message, 0.0)


def test_the_client_needs_no_django() -> None:
    program = "import sys, holdfast.client, holdfast.client.blocking; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_the_blocking_connect_takes_what_the_asynchronous_one_takes() -> None:
    assert inspect.signature(blocking.connect).parameters == inspect.signature(connect).parameters

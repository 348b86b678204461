"""Clients that ask for topics and actions of other users, and clients whose right ends, on every transport."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.asgi_servers.client import Live
from tests.asgi_servers.http import Message, call
from tests.asgi_servers.servers import Prepared, Running, User, soon

from .listeners import LISTENERS, Listener
from .server import attacked

EACH = pytest.mark.parametrize("way", list(LISTENERS))

LONGEST_SECONDS = 2.0
"""Seconds within which a right that was withdrawn has ended, on a busy machine."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[Running]:
    with attacked(tmp_path_factory.mktemp("rights"), prepared) as server:
        yield server.running


@pytest.fixture
def room(target: Running) -> str:
    """A private room whose only member is ada."""
    name = f"private-{uuid4().hex[:12]}"
    target.get(f"admit/{name}/ada/")
    return name


async def get(server: Running, path: str, user: str | None = None) -> str:
    return await asyncio.to_thread(server.get, path, user)


async def prompt(listener: Listener, *kinds: str) -> Message:
    """Return the next message of these types, which must come at once and not with the next check on schedule."""
    async with asyncio.timeout(LONGEST_SECONDS):
        return await listener.of_type(*kinds)


# ── topic id tampering ────────────────────────────────────────────────────────────────────────────────────────────────

TAMPERED = [
    "rooms/private-ada",  # a room of another user
    "rooms/private-ada/",
    "rooms//private-ada",
    "rooms/./private-ada",
    "rooms/x/../private-ada",
    "rooms%2Fprivate-ada",
    "rooms/%70rivate-ada",
    "rooms/private-ada%00",
    "rooms/private-ada ",
    "rooms/private-ada\n",
    "rooms/\uff50rivate-ada",
    "inbox/{ada}",  # the inbox of another user, by their id
    "inbox/0{ada}",
    "inbox/{ada}/",
    "inbox/<me>",
    "inbox/None",
    "closed/any",  # a topic without a rule
    "rooms/*",
    "rooms/private-ada' OR '1'='1",
]


@EACH
async def test_a_tampered_topic_is_refused_like_one_that_does_not_exist(target: Running, way: str) -> None:
    unknown = "no/such-topic"
    for pattern in [unknown, *TAMPERED]:
        topic = pattern.replace("{ada}", target.users["ada"].id)
        async with LISTENERS[way](target, topic, user="grace") as listener:
            answer = await listener.answer()
        assert (answer["type"], answer["topic"]) == ("error", topic)
        if topic == unknown:
            expected = answer["payload"]
        assert answer["payload"] == expected, topic
    assert expected["code"] == "forbidden"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("say", {"text": "forged"}), ("say", {"text": 5}), ("say", {"more": 1}), ("no_such_action", {})],
    ids=["good", "bad-argument", "unknown-argument", "unknown-action"],
)
async def test_a_posted_call_learns_nothing_about_a_topic_of_others(
    target: Running, name: str, arguments: dict[str, Any]
) -> None:
    expected = await call(target, "no/such-topic", name, user="grace", **arguments)
    for pattern in TAMPERED:
        topic = pattern.replace("{ada}", target.users["ada"].id)
        assert await call(target, topic, name, user="grace", **arguments) == expected, topic
    assert (expected[0], expected[1]["payload"]["code"]) == (403, "forbidden")
    assert "forged" not in await get(target, "sayings/private-ada/")


@pytest.mark.parametrize("key", [None, "k"], ids=["plain", "keyed"])
async def test_a_posted_call_beyond_its_rate_learns_nothing_about_a_topic_of_others(
    target: Running, key: str | None
) -> None:
    room = f"t{uuid4().hex[:12]}"
    await get(target, f"admit/{room}/ada/")  # members close a target
    expected = await call(target, "no/such-topic", "seldom", user="grace", key=key)
    for _ in range(3):
        assert (
            await call(target, f"targets/{room}", "seldom", user="grace", key=key and uuid4().hex) == expected
        )


@pytest.mark.parametrize("name", ["say", "say_async"])
async def test_a_posted_call_to_a_topic_without_a_rule_is_not_carried_out(target: Running, name: str) -> None:
    room = f"c{uuid4().hex[:12]}"
    status, answer = await call(target, f"closed/{room}", name, text="forged")
    assert (status, answer["payload"]["code"]) == (403, "forbidden")
    assert json.loads(await get(target, f"sayings/{room}/")) == []


@EACH
async def test_a_topic_of_another_user_stays_closed_to_an_anonymous_client(target: Running, way: str) -> None:
    for topic in ("inbox/me", f"inbox/{target.users['ada'].id}", "rooms/private-ada"):
        async with LISTENERS[way](target, topic, user=None) as listener:
            assert (await listener.answer())["payload"]["code"] == "forbidden"


async def test_an_action_of_a_topic_that_was_not_joined_is_refused(target: Running) -> None:
    async with Live(target, user="grace") as grace:
        await grace.join("rooms/lobby")
        answer = await grace.call("rooms/private-ada", "say", text="forged")
    assert answer["payload"]["code"] in ("forbidden", "not_joined")
    assert "forged" not in await get(target, "sayings/private-ada/")


# ── an action without the right ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["sign", "erase"], ids=["may_call", "requires"])
async def test_an_action_without_the_right_to_it_is_refused(target: Running, name: str) -> None:
    desk = f"d{uuid4().hex[:12]}"
    for user in ("ada", "grace"):  # members, without the permission to erase
        if name == "erase":
            await get(target, f"admit/{desk}/{user}/")
    arguments = {"text": "forged"} if name == "sign" else {}
    async with Live(target) as ada:
        assert (await ada.join(f"desks/{desk}"))["type"] == "joined"
        answer = await ada.call(f"desks/{desk}", name, **arguments)
    status, posted = await call(target, f"desks/{desk}", name, user="grace", **arguments)
    assert answer["payload"]["code"] == posted["payload"]["code"] == "forbidden"
    assert status == 403
    assert "forged" not in await get(target, f"sayings/{desk}/")


@pytest.mark.parametrize("name", ["__init__", "may_join", "publish", "evict_all", "_registry", "snapshot"])
async def test_a_method_that_is_no_action_cannot_be_called(target: Running, name: str) -> None:
    async with Live(target) as ada:
        await ada.join("rooms/lobby")
        answer = await ada.call("rooms/lobby", name)
    status, posted = await call(target, "rooms/lobby", name)
    assert answer["payload"]["code"] == "unknown_action"
    assert posted["payload"]["code"] in ("unknown_action", "invalid_message")
    assert status in (400, 404)


# ── a right that ends ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_right_withdrawn_between_two_frames_refuses_the_second(target: Running) -> None:
    desk = f"d{uuid4().hex[:12]}"
    await get(target, f"admit/{desk}/ada/")
    async with Live(target) as ada:
        await ada.join(f"desks/{desk}")
        assert (await ada.call(f"desks/{desk}", "sign", text="first"))["type"] == "result"
        await get(target, f"withdraw/{desk}/ada/")  # not even an eviction
        answer = await ada.call(f"desks/{desk}", "sign", text="second")
    assert answer["payload"]["code"] == "forbidden"
    assert json.loads(await get(target, f"sayings/{desk}/")) == ["first"]


async def test_a_right_withdrawn_between_two_posted_calls_refuses_the_second(
    target: Running, room: str
) -> None:
    topic = f"rooms/{room}"
    assert (await call(target, topic, "say", text="first"))[0] == 200
    await get(target, f"withdraw/{room}/ada/")
    status, answer = await call(target, topic, "say", text="second")
    assert (status, answer["payload"]["code"]) == (403, "forbidden")
    assert json.loads(await get(target, f"sayings/{room}/")) == ["first"]


@EACH
@pytest.mark.parametrize(("how", "code"), [("evict", "evicted"), ("recheck", "forbidden")])
async def test_a_right_that_ends_ends_the_subscription_at_once(
    target: Running, room: str, way: str, how: str, code: str
) -> None:
    topic = f"rooms/{room}"
    async with LISTENERS[way](target, topic, user="ada") as listener:
        assert (await listener.answer())["type"] == "joined"
        await get(target, f"say/{room}/")
        assert (await listener.of_type("event"))["offset"] == 1

        await get(target, f"withdraw/{room}/ada/?how={how}")
        if how == "evict":  # a recheck takes as long as the rule
            await get(target, f"say/{room}/")
        left = await prompt(listener, "left", "event")
        assert (left["type"], left["payload"]["code"]) == ("left", code)
    async with LISTENERS[way](target, topic, user="ada") as again:
        assert (await again.answer())["payload"]["code"] == "forbidden"


@EACH
async def test_a_session_logged_out_elsewhere_ends_its_connection_at_once(target: Running, way: str) -> None:
    before = target.state()["connections"]
    key = await get(target, "sign-in/ada/")
    session = User(id=target.users["ada"].id, cookie=f"sessionid={key}")
    server = dataclasses.replace(target, users={**target.users, "session": session})
    async with (
        LISTENERS[way](server, "inbox/me", user="session") as listener,
        LISTENERS[way](server, "inbox/me", user="ada") as device,
    ):
        assert (await listener.answer())["type"] == (await device.answer())["type"] == "joined"

        heard = asyncio.create_task(prompt(listener, "goodbye", "event", "error"))
        await get(server, "sign-out/", "session")
        code = (await heard)["payload"]["code"]
        if way == "polling" and code == "forbidden":
            pass  # the request came after the logout, as one of an anonymous client
        else:
            assert code == "unauthenticated"
            await listener.end()
        async with LISTENERS[way](server, "inbox/me", user="session") as again:
            assert (await again.answer())["payload"]["code"] == "forbidden"
        async with Live(server) as ada:  # another session of the user goes on
            await ada.join("inbox/me")
    if way != "polling":  # a polling connection lingers
        assert await asyncio.to_thread(soon, lambda: target.state()["connections"] <= before)

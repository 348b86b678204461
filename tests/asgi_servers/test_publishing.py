"""Publishing over HTTP by services that are not Django."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from holdfast.auth.publishing_key import sign

from .http import EventStream, publish
from .servers import PUBLISHING_SECRETS, SERVERS, Running

pytestmark = pytest.mark.parametrize(
    "server", [kind for kind in SERVERS if kind.name == "holdfast"], indirect=True, ids=["holdfast"]
)
"""No part of it depends on the server; tests/asgi_servers/test_http.py sends bodies to each."""

SHOP = PUBLISHING_SECRETS["shop"]
SIGNED = PUBLISHING_SECRETS["signed"]


@pytest.fixture
def room() -> str:
    return f"r{uuid4().hex[:12]}"


def said(room: str, text: str = "hi") -> dict[str, Any]:
    return {"topic": f"rooms/{room}", "name": "said", "payload": {"id": 1, "text": text}}


async def test_an_event_reaches_the_subscribers_and_has_a_position(server: Running, room: str) -> None:
    async with EventStream(server, f"rooms/{room}") as stream:
        joined = await stream.of_type("joined")
        status, answer = await publish(server, [said(room)], secret=SHOP)
        event = await stream.of_type("event")
    assert status == 202
    assert event["payload"] == {"id": 1, "text": "hi"}
    position = f"{joined['payload']['epoch']}:1.{event['stamp']}"
    assert answer == {"positions": {f"rooms/{room}": position}}


async def test_a_batch_is_published_as_a_whole_or_not_at_all(server: Running, room: str) -> None:
    good, bad = said(room), {**said(room), "payload": {"id": "x", "text": "hi"}}
    status, answer = await publish(server, [good, bad], secret=SHOP)
    assert (status, answer["payload"]["code"]) == (400, "invalid_payload")
    assert "events[1].payload" in answer["payload"]["message"]
    ticks = {"topic": "tickers/a", "name": "typing", "payload": {"author": "shop"}}
    status, answer = await publish(server, [good, ticks, good], secret=SHOP)
    assert status == 202
    assert answer["positions"][f"rooms/{room}"].split(":")[1].startswith("2")
    assert "tickers/a" not in answer["positions"]


async def test_a_request_that_is_sent_again_is_published_once(server: Running, room: str) -> None:
    key = uuid4().hex
    first = await publish(server, [said(room)], key=key, secret=SHOP)
    again = await publish(server, [said(room)], key=key, secret=SHOP)
    other = await publish(server, [said(room, "something else")], key=key, secret=SHOP)
    assert first == again
    assert first[0] == 202
    assert (other[0], other[1]["payload"]["code"]) == (409, "key_reused")


async def test_the_secret_before_a_change_still_works(server: Running, room: str) -> None:
    assert (await publish(server, [said(room)], secret=PUBLISHING_SECRETS["old"]))[0] == 202


@pytest.mark.parametrize("secret", [None, "wrong" * 10, SIGNED], ids=["none", "wrong", "must sign"])
async def test_a_request_without_a_right_secret_is_refused(
    server: Running, room: str, secret: str | None
) -> None:
    assert (await publish(server, [said(room)], secret=secret))[0] == 401


async def test_a_service_publishes_to_its_own_topics_only(server: Running) -> None:
    for topic in ("inbox/7", "boards/x", "no/such"):
        status, answer = await publish(server, [{**said("x"), "topic": topic}], secret=SHOP)
        assert (status, answer["payload"]["code"]) == (403, "forbidden")


async def test_a_rate_bounds_the_requests_of_a_service(server: Running, room: str) -> None:
    slow = PUBLISHING_SECRETS["slow"]
    statuses = [(await publish(server, [said(room)], secret=slow))[0] for _ in range(3)]
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("age", "tampered", "status"), [(0, False, 202), (0, True, 401), (400, False, 401), (-400, False, 401)]
)
async def test_a_signature_proves_the_body_and_its_age(
    server: Running, room: str, age: int, tampered: bool, status: int
) -> None:
    body = json.dumps({"events": [said(room)]}).encode()
    headers = {
        "Holdfast-Key": "signed",
        "Holdfast-Signature": sign(SIGNED, body, int(time.time()) - age),
    }
    sent = body.replace(b'"hi"', b'"ho"') if tampered else body
    assert (await publish(server, [], headers=headers, body=sent))[0] == status


async def test_a_request_without_a_right_secret_is_refused_before_its_body_is_read(server: Running) -> None:
    head = (
        f"POST /live/publish HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {'x' * 40}\r\n"
        "Content-Length: 4000000\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode())
    async with asyncio.timeout(5):
        assert b" 401 " in await reader.readline()
    writer.close()

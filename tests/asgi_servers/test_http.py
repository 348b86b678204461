"""Event streams and calls by POST, on each ASGI server."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from .client import Live
from .http import EventStream, call, request
from .servers import Running, settled

ALLOWED_ORIGIN = "https://app.example.org"
"""In the project's ``CSRF_TRUSTED_ORIGINS``."""


@pytest.fixture
def room() -> str:
    return f"r{uuid4().hex[:12]}"


# ── event streams ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_brings_events_as_they_happen(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with EventStream(server, topic) as stream:
        joined = await stream.of_type("joined")
        assert (stream.response.status, joined["topic"], joined["payload"]["offset"]) == (200, topic, 0)
        for number in range(3):
            await asyncio.to_thread(server.get, f"say/{room}/")
            event = await stream.of_type("event")
            assert (event["name"], event["offset"]) == ("said", number + 1)


async def test_a_stream_resumes_from_the_last_id(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with EventStream(server, topic) as stream:
        await stream.of_type("joined")
        await asyncio.to_thread(server.get, f"say/{room}/")
        await stream.of_type("event")
    await asyncio.to_thread(server.get, f"say/{room}/")
    async with EventStream(server, topic, last_event_id=stream.reader.last_id) as again:
        joined = await again.of_type("joined")
        assert joined["payload"]["recovered"] is True
        assert (await again.of_type("event"))["offset"] == 2


async def test_a_stream_and_a_socket_hear_the_same(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with EventStream(server, topic) as stream, Live(server) as live:
        await stream.of_type("joined")
        await live.join(topic)
        result = await live.call(topic, "say", text="hi")
        assert result["type"] == "result"
        assert await stream.of_type("event") == await live.event()


async def test_a_user_without_the_right_gets_an_error_in_the_stream(server: Running) -> None:
    async with EventStream(server, "rooms/private-x", "no/such") as stream:
        errors = [await stream.of_type("error") for _ in range(2)]
    assert {error["payload"]["code"] for error in errors} == {"forbidden"}


async def test_the_server_notices_that_a_stream_was_closed(server: Running, room: str) -> None:
    before = await asyncio.to_thread(settled, lambda: server.state()["connections"])
    async with EventStream(server, f"rooms/{room}") as stream:
        await stream.of_type("joined")
        assert server.state()["connections"] == before + 1
    for _ in range(100):
        if server.state()["connections"] == before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the connection of a closed stream is still there")


async def test_a_stream_that_is_given_to_the_hub_has_no_task(server: Running, room: str) -> None:
    async with AsyncExitStack() as stack:
        before = await asyncio.to_thread(settled, lambda: server.state()["tasks"])
        for _ in range(5):
            stream = await stack.enter_async_context(EventStream(server, f"rooms/{room}"))
            await stream.of_type("joined")
        # Servers keep tasks of their own for each connection or not; the application's is the one that must not be there.
        assert (server.state()["tasks"] < before + 5) is (server.kind.name == "holdfast")


# ── calls by POST ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_posted_call_is_carried_out_and_all_members_get_the_event(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    async with Live(server, user="grace") as grace:
        await grace.join(topic)
        status, answer = await call(server, topic, "say", text="hi")
        assert (status, answer["type"]) == (200, "result")
        assert (await grace.event())["payload"] == {"id": answer["payload"], "text": "hi"}


async def test_a_key_means_the_same_on_both_transports(server: Running, room: str) -> None:
    topic = f"rooms/{room}"
    key = uuid4().hex
    async with Live(server) as live:
        await live.join(topic)
        first = await live.request("call", topic=topic, name="say", key=key, payload={"text": "once"})
    assert await call(server, topic, "say", key=key, text="once") == (
        200,
        {"type": "result", "payload": first["payload"]},
    )


@pytest.mark.parametrize(
    ("topic", "name", "payload", "status", "code"),
    [
        ("rooms/private-x", "say", {"text": "hi"}, 403, "forbidden"),
        ("no/such", "say", {"text": "hi"}, 403, "forbidden"),
        ("rooms/r", "nothing", {}, 404, "unknown_action"),
        ("rooms/r", "say", {"text": 5}, 400, "invalid_payload"),
        ("rooms/r", "refuse", {}, 409, "refused"),
        ("rooms/r", "say", {"text": "x" * 80_000}, 413, "too_large"),
    ],
)
async def test_a_posted_call_that_fails_has_a_code_and_a_status(
    server: Running, topic: str, name: str, payload: dict[str, object], status: int, code: str
) -> None:
    found, answer = await call(server, topic, name, **payload)  # type: ignore[arg-type]
    assert (found, answer["type"], answer["payload"]["code"]) == (status, "error", code)


async def test_a_posted_call_with_a_session_needs_the_csrf_token(server: Running, room: str) -> None:
    status, answer = await call(server, f"rooms/{room}", "say", csrf=False, text="forged")
    assert (status, answer["payload"]["code"]) == (403, "csrf_failed")


async def test_a_posted_call_from_another_site_is_refused(server: Running, room: str) -> None:
    forged = {"Origin": "https://evil.example"}
    status, answer = await call(server, f"rooms/{room}", "say", headers=forged, text="forged")
    assert (status, answer["payload"]["code"]) == (403, "origin_refused")


# ── origins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_foreign_page_can_neither_stream_nor_poll_nor_call(server: Running, room: str) -> None:
    evil = {"Origin": "https://evil.example"}
    topic = f"rooms/{room}"
    async with EventStream(server, topic, headers=evil) as stream:
        assert stream.response.status == 403
        assert "access-control-allow-origin" not in stream.response.headers
    response, writer = await request(server, "GET", f"/live/poll?topic={topic}", evil)
    assert response.status == 403
    writer.close()
    status, answer = await call(server, topic, "say", user=None, csrf=False, headers=evil, text="forged")
    assert (status, answer["payload"]["code"]) == (403, "origin_refused")


async def test_an_image_on_another_site_opens_no_stream_with_the_visitors_session(
    server: Running, room: str
) -> None:
    for site, status in (("cross-site", 403), ("same-origin", 200)):
        async with EventStream(server, f"rooms/{room}", headers={"Sec-Fetch-Site": site}) as stream:
            assert stream.response.status == status


async def test_an_allowed_page_streams_with_cors_headers_after_its_preflight(
    server: Running, room: str
) -> None:
    page = {"Origin": ALLOWED_ORIGIN}
    wish = {**page, "Access-Control-Request-Method": "POST", "Connection": "close"}
    response, writer = await request(server, "OPTIONS", "/live/call", wish)
    assert (response.status, response.headers["access-control-allow-origin"]) == (204, ALLOWED_ORIGIN)
    assert response.headers["access-control-allow-methods"] == "POST"
    writer.close()
    async with EventStream(server, f"rooms/{room}", headers=page) as stream:
        assert (await stream.of_type("joined"))["topic"] == f"rooms/{room}"
        assert stream.response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert stream.response.headers["access-control-allow-credentials"] == "true"

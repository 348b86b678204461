"""Comparison with Uvicorn's own `websockets-sansio`: an application sees the same where the ASGI specification leaves room.

Each story runs on both. Where they differ on purpose, `BETTER` says how, and why.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from holdfast.server import WebSocketProtocol

from .frames import TEXT, close, frame
from .wire import ACCEPT, Doing, Peer, Recorder, Slow, Wire

pytestmark = pytest.mark.usefixtures("peers_end")

Story = Callable[[type[Any]], Awaitable[tuple[Peer, Recorder]]]

STORIES: dict[str, Story] = {}


def story(play: Story) -> Story:
    STORIES[play.__name__] = play
    return play


async def told(app: Recorder, protocol: type[Any], **how: Any) -> tuple[Peer, Recorder]:
    wire = Wire(strict=protocol is WebSocketProtocol)
    peer = Peer(app, protocol=protocol, wire=wire, ws_max_size=1000)
    await peer.ask(**how)
    return peer, app


@story
async def accepted(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(
        Recorder({**ACCEPT, "subprotocol": "b", "headers": [(b"x-a", b"1")]}), protocol, subprotocols=["b"]
    )


@story
async def closed_before_accepting(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder({"type": "websocket.close", "code": 4001}), protocol)


@story
async def denied(protocol: type[Any]) -> tuple[Peer, Recorder]:
    body = {"type": "websocket.http.response.body", "body": b"no"}
    return await told(Recorder({"type": "websocket.http.response.start", "status": 418}, body), protocol)


@story
async def denied_with_a_status_that_is_none(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder({"type": "websocket.http.response.start", "status": 1000}), protocol)


@story
async def sent_before_accepting(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder({"type": "websocket.send", "text": "x"}), protocol)


@story
async def accepted_twice(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder(ACCEPT, ACCEPT), protocol)


@story
async def closed_twice(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder(ACCEPT, {"type": "websocket.close"}, {"type": "websocket.close"}), protocol)


@story
async def closed_by_the_application(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder(ACCEPT, {"type": "websocket.close", "code": 4001, "reason": "bye"}), protocol)


@story
async def closed_with_a_code_that_may_not_be_sent(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder(ACCEPT, {"type": "websocket.close", "code": 1006}), protocol)


@story
async def closed_by_the_client(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    await peer.close(4002, "bye")
    return peer, app


@story
async def closed_by_the_client_without_a_code(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    await peer.close(None)
    return peer, app


@story
async def sent_after_the_client_has_closed(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Slow(ACCEPT), protocol)
    await peer.close()
    try:
        await app.send({"type": "websocket.send", "text": "late"})
    except Exception as error:
        app.errors.append(error)
    return peer, app


@story
async def lost(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    await peer.lose()
    return peer, app


@story
async def lost_before_the_decision(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(slow := Slow(), protocol)
    await peer.lose()
    slow.go_on.set()
    await peer.settle()
    return peer, app


@story
async def failed_before_accepting(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder({"type": "nonsense"}), protocol)


@story
async def failed_after_accepting(protocol: type[Any]) -> tuple[Peer, Recorder]:
    return await told(Recorder(ACCEPT, {"type": "nonsense"}), protocol)


@story
async def returned_after_accepting(protocol: type[Any]) -> tuple[Peer, Recorder]:
    async def leave(app: Doing) -> None: ...

    return await told(Doing(leave), protocol)


@story
async def too_big(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    peer.receive(frame(TEXT, "x" * 1001))
    await peer.settle()
    return peer, app


@story
async def not_utf_8(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    peer.receive(frame(TEXT, b"\xff"))
    await peer.settle()
    return peer, app


@story
async def a_close_behind_a_message(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    peer.receive(frame(TEXT, "last") + close(1000))
    await peer.settle()
    return peer, app


@story
async def shut_down(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(Recorder(ACCEPT), protocol)
    peer.server.shutdown()
    await peer.settle()
    return peer, app


@story
async def shut_down_before_the_decision(protocol: type[Any]) -> tuple[Peer, Recorder]:
    peer, app = await told(slow := Slow(), protocol)
    peer.server.shutdown()
    slow.go_on.set()
    await peer.settle()
    return peer, app


def outline(peer: Peer, app: Recorder) -> dict[str, Any]:
    """Return what each side observed."""
    return {
        "status": peer.status if peer.client.handshake_exc is None or peer.response else None,
        "subprotocol": peer.client.subprotocol,
        "received": peer.received,
        "close": peer.closed and peer.closed[0],
        "events": [event["type"].removeprefix("websocket.") for event in app.events],
        "disconnect": [(event["code"], event.get("reason", "")) for event in app.events if "code" in event],
        "errors": [type(error).__name__ for error in app.errors],
    }


SAYS_WHY = "the client learns why (7.1.5); Uvicorn just hangs up, which browsers show as 1006"
OUR_ERRORS = "a wrong value is a ValueError that says what would be right"

BETTER: dict[str, tuple[dict[str, Any], str]] = {
    "lost": ({"disconnect": [(1006, "")]}, "RFC 6455, 7.1.5: without a close frame it is 1006, not 1005"),
    "failed_after_accepting": ({"close": 1011}, SAYS_WHY),
    "accepted_twice": ({"close": 1011}, SAYS_WHY),
    "returned_after_accepting": ({"close": 1000}, SAYS_WHY),
    "closed_with_a_code_that_may_not_be_sent": ({"close": 1011, "errors": ["ValueError"]}, OUR_ERRORS),
    "denied_with_a_status_that_is_none": ({"errors": ["ValueError"]}, OUR_ERRORS),
    "too_big": ({"disconnect": [(1009, "message longer than 1000 bytes")]}, "the same in other words"),
    "not_utf_8": ({"disconnect": [(1007, "text is not UTF-8")]}, "with a reason"),
}


@pytest.mark.parametrize("name", STORIES)
async def test_an_application_sees_the_same_as_on_uvicorn(name: str) -> None:
    ours = outline(*await STORIES[name](WebSocketProtocol))
    theirs = outline(*await STORIES[name](WebSocketsSansIOProtocol))

    differences = {key: ours[key] for key in ours if ours[key] != theirs[key]}
    expected, _ = BETTER.get(name, ({}, ""))
    assert differences == expected, f"theirs: { {key: theirs[key] for key in differences} }"

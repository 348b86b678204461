"""`holdfast.adopt` of a response: the application gives an event stream away (``holdfast.server.http``)."""

import asyncio
import gc
import logging
import socket
import weakref
from typing import Any

import msgspec
import pytest
from uvicorn.logging import AccessFormatter

from holdfast.protocol.positions import Position
from holdfast.server import adopted_writer
from holdfast.server.adopted_stream import UNREAD_BYTES, AdoptedStream
from holdfast.server.draining import Drain
from holdfast.server.serving.request_log import RequestLog
from holdfast.streams.prepared import Burst, Prepared
from holdfast.transports.event_stream import StreamIds

from .http_wire import HttpPeer
from .running import Raw, Running, until
from .test_adopted import Handler
from .wire import settle

HEADERS = [(b"content-type", b"text/event-stream")]


def giving(handler: Handler, **more: Any) -> Any:
    """Return an application that offers its response. ``calls`` of the handler say whether it had to serve the body itself."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "holdfast.adopt" in scope["extensions"]
        offer = {"adopt": handler.adopt, "ids": StreamIds(1, {}), "write_buffer_bytes": 1000, **more}
        start = {"type": "http.response.start", "status": 200, "headers": HEADERS}
        await send({**start, "holdfast.adopt": offer})
        if not hasattr(handler, "transport"):
            handler.calls.append("portable")
            offer.clear()
            await send({"type": "http.response.body", "body": b"data: portable\n\n"})

    return app


async def given(handler: Handler, *, app: Any = None, **how: Any) -> HttpPeer:
    peer = HttpPeer(app or giving(handler))
    await peer.ask(**how)
    return peer


def event(number: int) -> Prepared:
    return Prepared("rooms/lobby", "said", msgspec.json.encode({"n": number}), number)


class TestGiving:
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    async def test_the_body_ends_with_the_connection(self, version: str) -> None:
        handler = Handler()
        peer = await given(handler, version=version)

        assert peer.head[0] == "HTTP/1.1 200 OK"
        assert peer.headers[b"content-type"] == b"text/event-stream"
        assert peer.headers[b"connection"] == b"close"
        assert not {b"content-length", b"transfer-encoding"} & set(peer.headers)
        assert isinstance(peer.wire.get_protocol(), AdoptedStream)
        assert peer.state.connections == {peer.wire.get_protocol()}
        assert peer.state.total_requests == 1

    async def test_nothing_of_the_request_is_kept(self) -> None:
        peer = await given(Handler())
        before = weakref.ref(peer.server)
        assert not peer.state.tasks

        gc.disable()
        try:
            peer.server = None
            await settle()
            assert before() is None, "freed without the garbage collector"
        finally:
            gc.enable()

    async def test_other_methods_are_not_offered_it(self) -> None:
        scopes: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        peer = HttpPeer(app)
        peer.receive(
            b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n"
        )
        await peer.settle()
        assert [scope["method"] for scope in scopes] == ["HEAD", "POST"]
        assert not [scope for scope in scopes if scope.get("extensions")]

    async def test_an_ordinary_response_stays_as_it_is_and_the_connection_open(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

        peer = await given(Handler(), app=app)
        await peer.ask()
        assert peer.raw.count(b"HTTP/1.1 200 OK") == 2
        assert peer.body.endswith(b"ok")
        assert not peer.wire.lost

    async def test_an_error_in_adopt_aborts_the_connection(self, caplog: pytest.LogCaptureFixture) -> None:
        def adopt(transport: AdoptedStream) -> Handler:
            raise LookupError("no room")

        peer = await given(Handler(), app=giving(Handler(), adopt=adopt))
        assert peer.wire.aborted
        assert "no room" in caplog.text
        assert not peer.state.connections

    async def test_a_stream_whose_client_has_left_is_not_given_away(self) -> None:
        handler, gate = Handler(), asyncio.Event()
        inner = giving(handler)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await inner(scope, receive, send)

        peer = await given(handler, app=app)
        peer.wire.lose(None)
        gate.set()
        await settle()
        assert handler.calls == ["portable"]
        assert not peer.raw


class TestMiddleware:
    """The offer is part of an ordinary message: middleware that touches the response is not passed over."""

    async def test_headers_that_middleware_adds_are_sent(self) -> None:
        handler = Handler()
        inner = giving(handler)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def adding(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-mine", b"1")]}
                await send(message)

            await inner(scope, receive, adding)

        peer = await given(handler, app=app)
        assert peer.headers[b"x-mine"] == b"1"
        assert handler.calls == []

    @pytest.mark.parametrize("encoding", [None, b"gzip"], ids=["delayed", "compressed"])
    async def test_a_response_that_middleware_holds_back_or_changes_is_served_by_the_application(
        self, encoding: bytes | None
    ) -> None:
        handler = Handler()
        inner = giving(handler)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            held: list[Any] = []

            async def holding(message: Any) -> None:
                if message["type"] == "http.response.start":
                    held.append(message)
                    return
                if encoding is not None:
                    held[0]["headers"] = [*held[0]["headers"], (b"content-encoding", encoding)]
                await send(held[0])
                await send(message)

            await inner(scope, receive, holding)

        peer = await given(handler, app=app)
        assert handler.calls == ["portable"]
        assert b"data: portable\n\n" in peer.body

    async def test_the_log_of_requests_has_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines: list[str] = []
        logger = logging.getLogger("django.server")
        monkeypatch.setattr(logger, "handle", lambda record: lines.append(record.getMessage()))
        handler = Handler()
        peer = await given(handler, app=RequestLog(giving(handler)), target="/live/sse?topic=a&ticket=secret")
        handler.transport.close(4000, "")
        await peer.settle()
        assert lines == ['"GET /live/sse?topic=a&ticket=[removed] HTTP/1.1" 200 -']
        assert handler.calls == ["closed"]

    async def test_the_access_log_of_uvicorn_has_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        records: list[logging.LogRecord] = []
        logger = logging.getLogger("uvicorn.access")
        # Uvicorn mutes this logger for good when it is configured without an access log anywhere in the process.
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "isEnabledFor", lambda level: True)
        monkeypatch.setattr(logger, "handle", records.append)
        await given(Handler(), target="/live/sse?topic=a&ticket=secret")
        (record,) = records
        line = AccessFormatter("%(request_line)s %(status_code)s", use_colors=False).format(record)
        assert line == "GET /live/sse?topic=a&ticket=[removed] HTTP/1.1 200 OK"


class TestMessages:
    async def test_messages_and_events_keep_their_order_and_have_their_ids(self) -> None:
        handler = Handler()
        peer = await given(handler)
        stream = handler.transport
        stream.note_join("rooms/lobby", "rooms/lobby", Position(epoch="k", offset=0))
        stream.send("data: joined\n\n")
        stream.send_events(Burst([event(1)]))
        stream.send("data: result\n\n")
        stream.close(4000, "")
        await peer.settle()

        blocks = peer.body.decode().split("\n\n")
        assert blocks[0].startswith("id: ")
        assert blocks[0].endswith("@k:0\ndata: joined")
        assert "@k:1\ndata: " in blocks[1]
        assert blocks[2:] == ["data: result", ""]
        assert peer.wire.lost

    async def test_streams_of_one_topic_are_written_the_same_bytes(self) -> None:
        handlers = [Handler(), Handler()]
        peers = [await given(handler) for handler in handlers]
        written: list[bytes] = []
        for peer in peers:
            peer.wire.write = written.append  # type: ignore[assignment]
        burst = Burst([event(1), event(2)])
        for handler in handlers:
            handler.transport.note_join("rooms/lobby", "rooms/lobby", Position(epoch="k", offset=0))
            handler.transport.send_events(burst)

        assert len(written) == 2
        assert written[0] is written[1]

    async def test_data_of_the_client_is_dropped_up_to_a_bound(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(b"x" * UNREAD_BYTES)
        assert not peer.wire.aborted
        peer.receive(b"x")
        assert peer.wire.aborted
        assert (handler.received, handler.calls) == ([], ["closed"])

    async def test_a_later_request_on_the_connection_is_dropped(self) -> None:
        """The head says ``Connection: close``, so the client sends it again on another one (RFC 9112, 9.6)."""
        handler = Handler()
        peer = HttpPeer(giving(handler))
        peer.receive(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.settle()
        handler.transport.send("data: hello\n\n")
        await peer.settle()
        assert peer.raw.count(b"HTTP/1.1") == 1
        assert peer.body == b"data: hello\n\n"
        assert peer.wire.reading


class TestEnding:
    async def test_it_is_drained_like_a_socket(self) -> None:
        goodbyes: list[float] = []

        class Leaving(Handler):
            busy = False

            def shut_down(self, after: float | None = None) -> None:
                assert after is not None
                goodbyes.append(after)
                self.transport.close(4000, "")

        peer = await given(Leaving())
        drain = Drain(lambda: peer.state.connections, seconds=10, patience=1, now=0)  # type: ignore[arg-type, return-value]
        drain.tick(0)
        await peer.settle()
        assert len(goodbyes) == 1
        assert peer.wire.lost
        assert drain.tick(1)

    async def test_a_client_that_does_not_read_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adopted_writer, "CLOSE_SECONDS", 0.01)
        handler = Handler()
        peer = await given(handler)
        peer.wire.stuck = True
        handler.transport.send("data: goodbye\n\n")
        handler.transport.close(4000, "")
        await asyncio.sleep(0.05)
        assert peer.wire.aborted
        assert handler.calls == ["closed"]

    async def test_a_paused_client_is_cut_off_at_once(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.wire.get_protocol().pause_writing()
        assert handler.calls == ["paused"]
        handler.transport.close(4000, "")
        assert peer.wire.aborted


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stream_on_a_real_socket_is_read_and_its_end_is_noticed(loop: str) -> None:
    class Greeting(Handler):
        def adopt(self, transport: Any) -> "Greeting":
            super().adopt(transport)
            transport.send("data: hello\n\n")
            return self

    handler = Greeting()
    with Running(giving(handler), loop=loop) as running:
        with socket.create_connection(("127.0.0.1", running.port), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            stream = Raw(plain)
            assert stream.head().startswith("HTTP/1.1 200 OK")
            assert stream.take(13) == b"data: hello\n\n"
            assert handler.calls == []
        until(lambda: handler.calls)
        assert handler.calls == ["closed"]
        until(lambda: running.idle)

"""The ASGI side, without a network: the messages that the application and the client see, and their order."""

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from holdfast.process import limited_log
from holdfast.process.limited_log import LogLimit

from .frames import BINARY, CONTINUATION, PING, PONG, TEXT, close, frame
from .wire import ACCEPT, Doing, Peer, Recorder, Slow, Wire

pytestmark = pytest.mark.usefixtures("peers_end")


def send(text: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": text}


class TestConnecting:
    async def test_the_scope_describes_the_request(self) -> None:
        app = Recorder(ACCEPT)
        await Peer(app, root_path="/harbor").open(
            path="/caf%C3%A9/live?x=1&y", subprotocols=["b", "a"], headers={"X-Forwarded-For": "1.2.3.4"}
        )

        scope = dict(app.scope)
        headers = dict(scope.pop("headers"))
        assert headers[b"host"] == b"harbor.example"
        assert headers[b"x-forwarded-for"] == b"1.2.3.4"
        assert scope.pop("asgi")["spec_version"] == "2.4"
        assert scope == {
            "type": "websocket",
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("10.0.0.1", 8000),
            "client": ("192.0.2.7", 50123),
            "root_path": "/harbor",
            "path": "/harbor/café/live",
            "raw_path": b"/harbor/caf%C3%A9/live",
            "query_string": b"x=1&y",
            "subprotocols": ["b", "a"],
            "state": {"from": "lifespan"},
            "extensions": {"websocket.http.response": {}, "holdfast.adopt": {}},
        }
        assert app.events == [{"type": "websocket.connect"}]

    async def test_the_state_is_a_copy(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        app.scope["state"]["more"] = 1

        assert peer.server._app_state == {"from": "lifespan"}

    async def test_tls_makes_it_wss(self) -> None:
        app = Recorder(ACCEPT)
        await Peer(app, wire=Wire(sslcontext=object())).open()

        assert app.scope["scheme"] == "wss"

    async def test_an_accept_can_carry_a_subprotocol_and_headers(self) -> None:
        app = Recorder(
            {**ACCEPT, "subprotocol": "a", "headers": [(b"x-mine", b"1"), [b"set-cookie", b"k=v"]]}
        )
        peer = await Peer(app).open(subprotocols=["b", "a"])

        assert peer.client.subprotocol == "a"
        assert peer.response is not None
        assert (peer.response.headers["x-mine"], peer.response.headers["set-cookie"]) == ("1", "k=v")

    @pytest.mark.parametrize("subprotocol", [None, ""])
    async def test_an_empty_subprotocol_is_omitted(self, subprotocol: str | None) -> None:
        peer = await Peer(Recorder({**ACCEPT, "subprotocol": subprotocol})).open()

        assert peer.client.subprotocol is None

    async def test_the_default_headers_of_the_server_are_sent(self) -> None:
        peer = Peer(Recorder(ACCEPT))
        peer.state.default_headers = [(b"server", b"uvicorn"), (b"connection", b"close")]
        await peer.open()

        assert peer.response is not None
        assert peer.response.headers["server"] == "uvicorn"
        assert peer.response.headers["connection"] == "Upgrade"

    async def test_a_request_may_come_in_portions(self) -> None:
        app = Recorder(ACCEPT)
        peer = Peer(app)
        head = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        for octet in head + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n":
            peer.server.data_received(bytes([octet]))
        await peer.settle()

        assert app.events == [{"type": "websocket.connect"}]

    async def test_a_request_without_an_end_is_refused(self) -> None:
        peer = Peer(Recorder())
        peer.server.data_received(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(70):
            peer.server.data_received(b"x" * 1000)

        assert peer.wire.sent.startswith(b"HTTP/1.1 431 ")
        assert peer.wire.is_closing()

    async def test_a_wrong_request_never_reaches_the_application(self) -> None:
        app = Recorder()
        peer = Peer(app)
        await peer.ask(headers={"Sec-WebSocket-Version": "8"})

        assert peer.status == 400 or peer.status == 426
        assert app.scope is None

    async def test_messages_that_come_with_the_request_are_not_lost(self) -> None:
        app = Recorder(ACCEPT)
        await Peer(app).open(early=frame(TEXT, "one") + frame(BINARY, b"two") + frame(TEXT, "three")[:4])

        assert [event.get("text", event.get("bytes")) for event in app.events[1:]] == ["one", b"two"]

    async def test_messages_that_come_before_the_decision_wait_for_it(self) -> None:
        app = Slow()
        peer = Peer(app)
        await peer.ask()
        peer.receive(frame(TEXT, "early"))
        await app.send(ACCEPT)
        app.go_on.set()
        await peer.settle()

        assert app.events[1:] == [{"type": "websocket.receive", "text": "early"}]

    async def test_little_is_read_before_the_decision(self) -> None:
        app = Slow()
        peer = Peer(app)
        await peer.ask()
        peer.receive(frame(BINARY, b"x" * 70_000))
        assert not peer.wire.reading

        await app.send(ACCEPT)
        app.go_on.set()
        await peer.settle()
        assert peer.wire.reading
        assert len(app.events[1]["bytes"]) == 70_000

    async def test_a_client_that_leaves_before_the_decision_is_reported(self) -> None:
        app = Slow()
        peer = Peer(app)
        await peer.ask()
        await peer.lose()
        app.go_on.set()
        await peer.settle()

        assert app.disconnect == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        for message in (
            ACCEPT,
            {"type": "websocket.close"},
            {"type": "websocket.http.response.start", "status": 403},
        ):
            with pytest.raises(ClientDisconnected):
                await app.send(message)

    @pytest.mark.parametrize(
        "headers",
        [[(b"x", b"a\r\nset-cookie: stolen=1")], [(b"x\r\ny", b"a")], [(b"sec-websocket-accept", b"mine")]],
    )
    async def test_headers_that_would_break_the_response_are_an_error(
        self, headers: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = Recorder({**ACCEPT, "headers": headers})
        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500
        assert isinstance(app.errors[0], ValueError)
        assert "[accepted]" not in caplog.text

    async def test_the_decision_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "uvicorn.error")
        await Peer(Recorder(ACCEPT)).ask()
        await Peer(Recorder({"type": "websocket.close"})).ask()

        lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
        assert lines == [
            '192.0.2.7:50123 - "WebSocket /live/?x=1" [accepted]',
            '192.0.2.7:50123 - "WebSocket /live/?x=1" 403',
        ]


class TestDenying:
    async def test_a_close_before_accepting_is_403(self) -> None:
        app = Recorder({"type": "websocket.close"})
        peer = Peer(app)
        await peer.ask()

        assert peer.status == 403
        assert app.disconnect["code"] == 1006
        assert peer.wire.lost

    async def test_a_denial_has_a_status_headers_and_a_body(self) -> None:
        app = Recorder(
            {"type": "websocket.http.response.start", "status": 402, "headers": [(b"x-mine", b"1")]},
            {"type": "websocket.http.response.body", "body": b"pay first"},
        )
        peer = Peer(app)
        await peer.ask()

        assert peer.response is not None
        assert (peer.status, peer.response.headers["x-mine"], peer.response.body) == (402, "1", b"pay first")
        assert peer.wire.lost
        assert app.disconnect["code"] == 1006

    async def test_a_denial_can_come_in_parts(self) -> None:
        body = "websocket.http.response.body"
        app = Recorder(
            {"type": "websocket.http.response.start", "status": 503},
            {"type": body, "body": b"come ", "more_body": True},
            {"type": body, "more_body": True},
            {"type": body, "body": b"again"},
        )
        peer = Peer(app)
        await peer.ask()

        assert peer.response is not None
        assert (peer.status, peer.response.body) == (503, b"come again")

    async def test_each_part_of_a_denial_is_sent_at_once(self) -> None:
        app = Slow({"type": "websocket.http.response.start", "status": 503})
        peer = Peer(app)
        await peer.ask()
        await app.send({"type": "websocket.http.response.body", "body": b"come ", "more_body": True})

        assert peer.wire.sent.endswith(b"\r\n\r\n5\r\ncome \r\n")

    async def test_a_denial_that_breaks_off_does_not_look_whole(self) -> None:
        app = Recorder(
            {"type": "websocket.http.response.start", "status": 503},
            {"type": "websocket.http.response.body", "body": b"come ", "more_body": True},
            {"type": "websocket.nonsense"},
        )
        peer = Peer(app)
        await peer.ask()

        assert peer.wire.aborted
        assert peer.response is None

    async def test_a_denial_without_a_body_is_500(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.http.response.start", "status": 403})

        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500

    @pytest.mark.parametrize("status", [101, 0, 1000])
    async def test_a_denial_is_a_complete_answer(self, status: int) -> None:
        app = Recorder({"type": "websocket.http.response.start", "status": status})
        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500
        assert isinstance(app.errors[0], ValueError)

    async def test_a_client_that_does_not_read_its_denial_is_cut_off(self) -> None:
        peer = Peer(Recorder({"type": "websocket.close"}))
        peer.wire.stuck = True
        await peer.ask()
        assert not peer.wire.lost

        await peer.clock.advance(10)
        assert peer.wire.aborted


class TestApplicationsThatFail:
    async def test_an_exception_before_accepting_is_500(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("oh")

        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500
        assert "Exception in ASGI application" in caplog.text
        assert not peer.state.tasks

    async def test_clients_that_make_handshakes_fail_do_not_fill_the_log(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(limited_log, "_limit", LogLimit())

        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("oh")

        for _ in range(5):
            peer = Peer(app)
            await peer.ask()
            assert peer.status == 500

        assert caplog.text.count("Traceback") == 1

    async def test_an_exception_after_accepting_is_1011(self, caplog: pytest.LogCaptureFixture) -> None:
        async def fail(app: Doing) -> None:
            raise KeyError("oh")

        peer = await Peer(Doing(fail)).open()

        assert peer.closed == (1011, "")
        assert "KeyError" in caplog.text

    async def test_an_application_that_does_not_answer_is_cancelled_and_the_client_gets_503(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        cancelled = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(scope)
                raise

        peer = Peer(app)
        await peer.ask()
        await peer.clock.advance(29)
        assert not peer.wire.sent

        await peer.clock.advance(2)
        await peer.settle()
        assert peer.status == 503
        assert len(cancelled) == 1
        assert not peer.state.tasks
        assert "did not answer the handshake" in caplog.text

    async def test_an_application_that_has_answered_is_not_cancelled(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        await peer.clock.advance(60)
        await peer.send("still there?")

        assert app.events[-1]["text"] == "still there?"
        assert not app.ended

    async def test_returning_without_accepting_is_500(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None: ...

        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500
        assert "without completing handshake" in caplog.text

    async def test_returning_after_accepting_is_1000(self) -> None:
        async def leave(app: Doing) -> None: ...

        peer = await Peer(Doing(leave)).open()

        assert peer.closed == (1000, "")

    async def test_a_result_is_reported(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> int:
            await send(ACCEPT)
            return 7

        await Peer(app).open()

        assert "should return None, but returned '7'" in caplog.text

    @pytest.mark.parametrize(
        "message",
        [
            {"type": "websocket.accept"},
            {"type": "websocket.http.response.start", "status": 403},
            {"type": "nonsense"},
            {"type": "holdfast.adopt"},
        ],
    )
    async def test_messages_out_of_place_are_an_error(self, message: dict[str, Any]) -> None:
        app = Recorder(ACCEPT, message)
        await Peer(app).open()

        assert isinstance(app.errors[0], RuntimeError)
        assert message["type"] in str(app.errors[0])

    @pytest.mark.parametrize("kind", ["websocket.send", "websocket.http.response.body", "nonsense"])
    async def test_messages_before_the_decision_are_an_error(self, kind: str) -> None:
        app = Recorder({"type": kind, "text": "x"})
        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500
        assert "Expected ASGI message" in str(app.errors[0])

    async def test_messages_after_the_application_has_closed_are_an_error(self) -> None:
        app = Recorder(ACCEPT, {"type": "websocket.close"}, send("late"))
        await Peer(app).open()

        assert isinstance(app.errors[0], RuntimeError)

    async def test_messages_after_the_application_has_refused_are_an_error(self) -> None:
        app = Recorder({"type": "websocket.close"}, send("late"))
        await Peer(app).ask()

        assert isinstance(app.errors[0], RuntimeError)

    async def test_a_send_of_nothing_is_an_error(self) -> None:
        app = Recorder(ACCEPT, {"type": "websocket.send", "text": None})
        await Peer(app).open()

        assert "neither" in str(app.errors[0])


class TestMessages:
    async def test_text_and_bytes_go_both_ways(self) -> None:
        app = Recorder(ACCEPT, send("Grüße"), {"type": "websocket.send", "bytes": b"\xff", "text": None})
        peer = await Peer(app).open()
        await peer.send("hello", b"\x00")

        assert peer.received == ["Grüße", b"\xff"]
        assert app.events[1:] == [
            {"type": "websocket.receive", "text": "hello"},
            {"type": "websocket.receive", "bytes": b"\x00"},
        ]

    async def test_empty_messages_go_both_ways(self) -> None:
        app = Recorder(ACCEPT, send(""), {"type": "websocket.send", "bytes": b""})
        peer = await Peer(app).open()
        await peer.send("", b"")

        assert peer.received == ["", b""]
        assert [event.get("text", event.get("bytes")) for event in app.events[1:]] == ["", b""]

    async def test_pings_are_answered_while_the_application_is_busy(self) -> None:
        peer = await Peer(Slow(ACCEPT)).open()
        peer.receive(frame(PING, b"there?"))
        await peer.settle()

        assert [(seen.opcode, bytes(seen.data)) for seen in peer.frames] == [(PONG, b"there?")]

    async def test_pings_of_a_client_that_does_not_read_do_not_pile_up(self) -> None:
        peer = await Peer(Recorder(ACCEPT)).open()
        peer.server.pause_writing()
        for number in range(100):
            peer.receive(frame(PING, b"%d" % number))
        assert peer.wire.sent == b""

        peer.server.resume_writing()
        await peer.settle()
        assert [bytes(seen.data) for seen in peer.frames] == [b"99"]

    async def test_two_receives_at_once_each_get_one(self) -> None:
        async def both(app: Doing) -> None:
            app.events += await asyncio.gather(app.receive(), app.receive())

        app = Doing(both)
        peer = await Peer(app).open()
        await peer.send("one", "two")

        assert [event["text"] for event in app.events[1:]] == ["one", "two"]


class TestDeflate:
    async def test_compression_is_negotiated_and_used_both_ways(self) -> None:
        app = Recorder(ACCEPT, send("tide " * 1000), send("short"))
        peer = Peer(app, ws_per_message_deflate=True)
        await peer.open(deflate=True)
        await peer.send("kelp " * 1000)

        assert [str(extension.name) for extension in peer.client.extensions] == ["permessage-deflate"]
        assert peer.received == ["tide " * 1000, "short"]
        assert app.events[1] == {"type": "websocket.receive", "text": "kelp " * 1000}

    async def test_compressed_messages_are_smaller(self) -> None:
        async def note(app: Doing) -> None:
            before = len(peer.wire.sent)
            await app.send(send("tide " * 1000))
            app.events.append({"type": "size", "size": len(peer.wire.sent) - before})

        app = Doing(note)
        peer = Peer(app, ws_per_message_deflate=True)
        await peer.open(deflate=True)

        assert app.events[-1]["size"] < 100

    async def test_short_messages_are_sent_uncompressed(self) -> None:
        app = Slow(ACCEPT)
        peer = Peer(app, ws_per_message_deflate=True)
        await peer.open(deflate=True)
        await app.send(send("short"))

        assert peer.wire.sent == b"\x81\x05short"

    @pytest.mark.parametrize(("offered", "on"), [(False, True), (True, False)])
    async def test_compression_needs_both_sides(self, offered: bool, on: bool) -> None:
        app = Recorder(ACCEPT, send("tide " * 1000))
        peer = Peer(app, ws_per_message_deflate=on)
        await peer.open(deflate=offered)

        assert peer.client.extensions == []
        assert peer.received == ["tide " * 1000]

    async def test_a_bomb_is_1009(self) -> None:
        app = Recorder(ACCEPT)
        peer = Peer(app, ws_per_message_deflate=True, ws_max_size=10_000)
        await peer.open(deflate=True)
        await peer.send("x" * 10_001)

        assert peer.closed == (1009, "message longer than 10000 bytes")
        assert app.disconnect["code"] == 1009


class TestClosingByTheClient:
    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999]
    )
    async def test_the_code_and_the_reason_reach_the_application_and_are_echoed(self, code: int) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        await peer.close(code, "läuft aus")

        assert app.disconnect == {"type": "websocket.disconnect", "code": code, "reason": "läuft aus"}
        assert peer.closed == (code, "")
        assert peer.wire.lost

    async def test_no_code_is_1005(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        await peer.close(None)

        assert app.disconnect["code"] == 1005
        assert peer.client.close_rcvd is not None
        assert bytes(peer.frames[-1].data) == b""

    async def test_a_lost_connection_is_1006(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        await peer.lose(ConnectionResetError())

        assert app.disconnect == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert app.ended
        assert peer.server not in peer.state.connections

    @pytest.mark.parametrize("end", ["client", "application", "lost", "shut down", "broken"])
    async def test_there_is_one_disconnect_however_it_ends(self, end: str) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        match end:
            case "client":
                await peer.close()
            case "application":
                await app.send({"type": "websocket.close"})
            case "shut down":
                peer.server.shutdown()
            case "broken":
                peer.receive(frame(3))
        await peer.settle()
        await peer.lose()
        app.go_on.set()
        await peer.settle()
        assert app.disconnect

        more = asyncio.ensure_future(app.receive())
        await peer.settle()
        assert not more.done()
        more.cancel()

    async def test_messages_before_the_close_are_received_first(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        peer.receive(frame(TEXT, "last") + close(1000) + frame(TEXT, "never"))
        await peer.settle()

        assert [event["type"] for event in app.events[1:]] == ["websocket.receive", "websocket.disconnect"]

    async def test_sending_afterwards_raises_that_the_client_is_gone(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        await peer.close()

        with pytest.raises(ClientDisconnected):
            await app.send(send("late"))
        with pytest.raises(OSError):  # the specification's word for it
            await app.send({"type": "websocket.close"})

    async def test_an_application_that_fails_because_the_client_is_gone_is_not_reported(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        closed = asyncio.Event()

        async def say_late(app: Doing) -> None:
            await closed.wait()
            await app.send(send("late"))

        app = Doing(say_late)
        peer = await Peer(app).open()
        await peer.close()
        closed.set()
        await peer.settle()
        assert isinstance(app.errors[0], ClientDisconnected)
        assert "Exception" not in caplog.text

    async def test_a_client_that_does_not_read_the_echo_is_cut_off(self) -> None:
        peer = await Peer(Recorder(ACCEPT), ws_ping_interval=1).open()
        peer.wire.stuck = True
        await peer.close()
        written = bytes(peer.wire.sent)
        await peer.clock.advance(9)
        assert not peer.wire.lost
        assert peer.wire.sent == written

        await peer.clock.advance(10)
        assert peer.wire.aborted
        assert peer.clock.pending == 0


class TestClosingByTheApplication:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
    async def test_the_code_and_the_reason_reach_the_client(self, code: int) -> None:
        app = Recorder(ACCEPT, {"type": "websocket.close", "code": code, "reason": "läuft aus"})
        peer = await Peer(app).open()

        assert peer.closed == (code, "läuft aus")
        assert app.disconnect == {"type": "websocket.disconnect", "code": code, "reason": "läuft aus"}

    @pytest.mark.parametrize("message", [{}, {"code": None, "reason": None}])
    async def test_no_code_is_1000(self, message: dict[str, Any]) -> None:
        peer = await Peer(Recorder(ACCEPT, {"type": "websocket.close", **message})).open()

        assert peer.closed == (1000, "")

    @pytest.mark.parametrize("code", [1, 999, 1004, 1005, 1006, 1015, 2000, 5000, 70_000])
    async def test_a_code_that_may_not_be_sent_is_an_error(self, code: int) -> None:
        app = Recorder(ACCEPT, {"type": "websocket.close", "code": code})
        peer = await Peer(app).open()

        assert peer.closed == (1011, "")
        assert isinstance(app.errors[0], ValueError)

    async def test_the_connection_ends_when_the_client_has_answered(self) -> None:
        peer = await Peer(Recorder(ACCEPT, {"type": "websocket.close"})).open()
        assert not peer.wire.lost

        await peer.flush()  # the library answers by itself
        assert peer.wire.lost
        assert peer.clock.pending == 0

    async def test_the_connection_ends_after_ten_seconds_without_an_answer(self) -> None:
        peer = await Peer(Recorder(ACCEPT, {"type": "websocket.close"})).open()
        await peer.clock.advance(9.9)
        assert not peer.wire.lost

        await peer.clock.advance(0.2)
        assert peer.wire.aborted

    async def test_sending_after_the_client_has_answered_raises_that_it_is_gone(self) -> None:
        app = Slow(ACCEPT, {"type": "websocket.close"})
        peer = await Peer(app).open()
        await peer.flush()
        assert peer.wire.lost

        with pytest.raises(ClientDisconnected):
            await app.send(send("late"))

    async def test_messages_after_the_close_are_read_and_dropped(self) -> None:
        app = Recorder(ACCEPT, {"type": "websocket.close", "code": 4000})
        peer = await Peer(app).open()
        for _ in range(100):
            peer.receive(frame(TEXT, "x" * 1000))
        peer.receive(frame(PING, b"?"))
        peer.receive(close(4000))
        await peer.settle()

        assert [event["type"] for event in app.events] == ["websocket.connect", "websocket.disconnect"]
        assert peer.frames[-1].opcode == 8
        assert peer.wire.lost


class TestBrokenClients:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (frame(TEXT, "x", mask=None), 1002),
            (frame(3), 1002),
            (frame(CONTINUATION, "x"), 1002),
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, "x" * 1001), 1009),
        ],
    )
    async def test_client_and_application_receive_code_and_reason(self, data: bytes, code: int) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app, ws_max_size=1000).open()
        peer.receive(frame(TEXT, "before") + data)
        await peer.settle()

        assert [event["type"] for event in app.events[1:]] == ["websocket.receive", "websocket.disconnect"]
        assert app.disconnect["code"] == code
        assert peer.closed == (code, app.disconnect["reason"])

    async def test_later_bytes_are_read_and_dropped_until_they_close(self) -> None:
        """Closing while a client sends resets the connection, and the close frame may be lost with it."""
        peer = await Peer(Recorder(ACCEPT), ws_max_size=1000).open()
        peer.receive(frame(BINARY, b"x" * 2000)[:1000])
        for _ in range(10):
            peer.receive(b"x" * 1000)
        assert peer.wire.eof_written
        assert not peer.wire.is_closing()

        await peer.clock.advance(10)
        assert peer.wire.aborted

    async def test_a_tls_connection_is_closed_at_once(self) -> None:
        peer = await Peer(Recorder(ACCEPT), wire=Wire(half_closes=False)).open()
        peer.receive(frame(3))
        await peer.settle()

        assert peer.closed == (1002, "unknown opcode")
        assert peer.wire.lost

    async def test_sending_to_them_raises_that_they_are_gone(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        peer.receive(frame(3))

        with pytest.raises(ClientDisconnected):
            await app.send(send("late"))
        with pytest.raises(ClientDisconnected):
            await app.send({"type": "websocket.close"})

    async def test_clients_that_violate_the_protocol_after_a_close_are_dropped(self) -> None:
        peer = await Peer(Recorder(ACCEPT, {"type": "websocket.close"})).open()
        peer.receive(frame(3))
        await peer.settle()

        assert peer.closed == (1000, "")
        assert peer.wire.lost


class TestKeepalive:
    async def test_a_client_that_answers_stays_connected(self) -> None:
        peer = await Peer(Recorder(ACCEPT), ws_ping_interval=20, ws_ping_timeout=5).open()
        for _ in range(3):
            await peer.clock.advance(20)
            await peer.settle()
            assert peer.frames.pop().opcode == PING
            await peer.flush()  # the library answers by itself
            await peer.clock.advance(5)

        assert peer.closed is None

    async def test_a_client_that_does_not_answer_is_closed_with_1011(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app, ws_ping_interval=20, ws_ping_timeout=5).open()
        await peer.clock.advance(24.9)
        assert app.events[1:] == []

        await peer.clock.advance(0.2)
        assert app.disconnect == {
            "type": "websocket.disconnect",
            "code": 1011,
            "reason": "keepalive ping timeout",
        }
        await peer.clock.advance(10)
        assert peer.wire.aborted
        assert peer.clock.pending == 0

    async def test_a_slow_application_is_not_the_clients_fault(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app, ws_ping_interval=20, ws_ping_timeout=5).open()
        for _ in range(40):
            peer.receive(frame(TEXT, "more")) if peer.wire.reading else None
        assert not peer.wire.reading
        await peer.clock.advance(100)
        assert not peer.wire.lost

        app.go_on.set()
        await peer.settle()
        await peer.clock.advance(60)  # now there is nothing left to excuse it
        assert app.disconnect["code"] == 1011

    async def test_without_an_interval_there_are_no_pings(self) -> None:
        peer = await Peer(Recorder(ACCEPT), ws_ping_interval=None).open()

        assert peer.clock.pending == 0

    async def test_without_a_timeout_no_client_is_dropped(self) -> None:
        peer = await Peer(Recorder(ACCEPT), ws_ping_interval=20, ws_ping_timeout=None).open()
        await peer.clock.advance(100)
        await peer.settle()

        assert [seen.opcode for seen in peer.frames] == [PING] * 5

    @pytest.mark.parametrize("end", ["client", "application", "lost"])
    async def test_no_pings_after_the_end(self, end: str) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app, ws_ping_interval=20, ws_ping_timeout=5).open()
        if end == "client":
            await peer.close()
        elif end == "lost":
            await peer.lose()
        else:
            await app.send({"type": "websocket.close"})
            await peer.settle()
            await peer.flush()

        assert peer.clock.pending == 0


class TestBackpressure:
    async def test_a_send_waits_while_the_client_does_not_read(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        peer.server.pause_writing()
        sending = asyncio.ensure_future(app.send(send("one")))
        await peer.settle()
        assert not sending.done()

        peer.server.resume_writing()
        await sending
        await peer.settle()
        assert peer.received == ["one"]

    async def test_several_sends_wait_in_order(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        peer.server.pause_writing()
        sending = [asyncio.ensure_future(app.send(send(str(n)))) for n in range(3)]
        await peer.settle()
        sending[0].cancel()
        await peer.settle()
        peer.server.resume_writing()
        await asyncio.wait(sending)
        await peer.settle()

        assert peer.received == ["1", "2"]

    async def test_a_send_that_waits_learns_that_the_client_is_gone(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        peer.server.pause_writing()
        sending = asyncio.ensure_future(app.send(send("one")))
        await peer.settle()
        await peer.lose()

        with pytest.raises(ClientDisconnected):
            await sending

    @pytest.mark.parametrize(("size", "most"), [(1, 32), (10_000, 7)])
    async def test_reading_pauses_while_the_application_does_not_receive(self, size: int, most: int) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        read = 0
        while peer.wire.reading and read < 1000:
            peer.receive(frame(BINARY, b"x" * size))
            read += 1
        assert read == most

        app.go_on.set()
        await peer.settle()
        assert peer.wire.reading
        assert len(app.events) == 1 + most

    async def test_received_messages_no_longer_count(self) -> None:
        peer = await Peer(Recorder(ACCEPT)).open()
        for _ in range(20):
            peer.receive(frame(BINARY, b"x" * 10_000))
            assert peer.wire.reading
            await peer.settle()

    async def test_reading_goes_on_after_a_close_so_that_its_answer_is_read(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        for _ in range(32):
            peer.receive(frame(TEXT, "x"))
        assert not peer.wire.reading

        await app.send({"type": "websocket.close"})
        assert peer.wire.reading


class TestShuttingDown:
    async def test_an_open_connection_is_closed_with_1012(self) -> None:
        app = Recorder(ACCEPT)
        peer = await Peer(app).open()
        peer.server.shutdown()
        await peer.settle()

        assert peer.closed == (1012, "")
        assert app.disconnect["code"] == 1012
        await peer.flush()
        assert peer.wire.lost

    async def test_a_client_that_does_not_answer_delays_it_by_a_second(self) -> None:
        peer = await Peer(Recorder(ACCEPT)).open()
        peer.server.shutdown()
        await peer.clock.advance(1)

        assert peer.wire.aborted

    async def test_before_the_decision_it_is_500_and_the_application_is_notified(self) -> None:
        app = Slow()
        peer = Peer(app)
        await peer.ask()
        peer.server.shutdown()
        app.go_on.set()
        await peer.settle()

        assert peer.status == 500
        assert app.disconnect["code"] == 1006
        with pytest.raises(ClientDisconnected):
            await app.send(ACCEPT)

    async def test_before_the_request_the_connection_ends(self) -> None:
        peer = Peer(Recorder())
        peer.server.shutdown()

        assert peer.wire.is_closing()

    async def test_a_connection_that_is_closing_is_not_waited_for(self) -> None:
        peer = await Peer(Recorder(ACCEPT, {"type": "websocket.close"})).open()
        peer.server.shutdown()
        await peer.settle()

        assert peer.wire.lost

    async def test_sending_afterwards_raises_that_the_client_is_gone(self) -> None:
        app = Slow(ACCEPT)
        peer = await Peer(app).open()
        peer.server.shutdown()

        with pytest.raises(ClientDisconnected):
            await app.send(send("late"))

    async def test_a_cancelled_application_closes_its_connection(self) -> None:
        peer = await Peer(Slow(ACCEPT)).open()
        (task,) = peer.state.tasks
        task.cancel()
        await peer.settle()

        assert peer.closed == (1011, "")
        assert not peer.state.tasks


async def test_nothing_of_the_application_remains_when_it_has_ended() -> None:
    peer = await Peer(Recorder(ACCEPT)).open()
    await peer.close()

    assert peer.server._scope == {}
    assert not peer.state.tasks
    assert not peer.state.connections

"""`holdfast.adopt`: the application gives the connection away, and its handler reads and writes."""

import asyncio
import fcntl
import gc
import socket
import struct
import weakref
from typing import Any

import msgspec
import pytest

from holdfast.protocol.codes import Code
from holdfast.server import adopted_writer
from holdfast.server.adopted import AdoptedProtocol
from holdfast.server.deflate import DEFLATE
from holdfast.streams.prepared import Burst, Prepared

from .frames import BINARY, CONTINUATION, PING, PONG, TEXT, close, frame
from .wire import Peer, Wire, settle

SIOCOUTQNSD = 0x894B
"""linux/sockios.h: bytes of a socket that were not sent yet."""

pytestmark = pytest.mark.usefixtures("peers_end")


class Handler:
    """A handler that records its calls."""

    def __init__(self) -> None:
        self.received: list[str | bytes] = []
        self.calls: list[str] = []
        self.transport: AdoptedProtocol

    def adopt(self, transport: AdoptedProtocol) -> "Handler":
        self.transport = transport
        return self

    def receive(self, data: str | bytes) -> None:
        self.received.append(data)

    def oversized(self) -> None:
        self.calls.append("oversized")

    def hang_up(self, code: Code) -> None:
        self.calls.append(code.name)
        assert code.close is not None
        self.transport.close(code.close, code.message)

    def show_life(self) -> None:
        self.calls.append("alive")

    def socket_full(self) -> None:
        self.calls.append("socket full")

    def paused(self) -> None:
        self.calls.append("paused")

    def resumed(self) -> None:
        self.calls.append("resumed")

    def stalled(self) -> None:
        self.calls.append("stalled")
        self.transport.close(4000, "too slow")

    def shut_down(self) -> None:
        self.calls.append("shut down")

    def closed(self) -> None:
        self.calls.append("closed")


def giving(handler: Handler, *, binary: bool = False, **more: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        adopt = {
            "type": "holdfast.adopt",
            "adopt": handler.adopt,
            "binary": binary,
            "write_buffer_bytes": 1000,
        }
        await send({**adopt, **more})

    return app


async def given(handler: Handler, *, wire: Wire | None = None, compressed: bool = False, **how: Any) -> Peer:
    peer = Peer(giving(handler, **how), wire=wire, ws_per_message_deflate=compressed, ws_max_size=2000)
    return await peer.open(deflate=compressed)


def event(number: int, text: str = "") -> Prepared:
    return Prepared("rooms/lobby", "said", msgspec.json.encode({"n": number, "text": text}), number)


def fill(sending: socket.socket) -> None:
    """Write until nothing more fits."""
    for _ in range(10_000):
        try:
            sending.send(b"x" * 10_000)
        except BlockingIOError:
            return


class TestGiving:
    async def test_the_handshake_is_completed(self) -> None:
        handler = Handler()
        peer = Peer(giving(handler, subprotocol="a", headers=[(b"x-mine", b"1")]))
        await peer.open(subprotocols=["a"])

        assert peer.client.subprotocol == "a"
        assert peer.response is not None
        assert peer.response.headers["x-mine"] == "1"
        assert peer.wire.get_protocol() is handler.transport
        assert peer.state.connections == {handler.transport}

    async def test_nothing_of_the_asgi_side_is_kept(self) -> None:
        handler = Handler()
        peer = await given(handler)
        before = weakref.ref(peer.server)
        assert not peer.state.tasks
        assert peer.clock.pending == 0

        peer.server = None
        await settle()
        gc.collect()
        assert before() is None

    async def test_bytes_that_came_with_the_request_reach_the_handler(self) -> None:
        handler = Handler()
        peer = Peer(giving(handler))
        await peer.open(early=frame(TEXT, "one") + frame(BINARY, b"two") + frame(TEXT, "three")[:5])
        peer.receive(frame(TEXT, "three")[5:])

        assert handler.received == ["one", b"two", "three"]

    async def test_an_error_in_adopt_closes_the_connection(self, caplog: pytest.LogCaptureFixture) -> None:
        def adopt(transport: AdoptedProtocol) -> Handler:
            raise LookupError("no room")

        peer = Peer(giving(Handler(), adopt=adopt))
        await peer.open()

        assert peer.closed == (1011, "")
        assert "no room" in caplog.text
        await peer.flush()
        assert not peer.state.connections

    @pytest.mark.parametrize("missing", ["adopt", "binary", "write_buffer_bytes"])
    async def test_an_incomplete_message_is_an_error_before_anything_is_sent(self, missing: str) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            message = {
                "type": "holdfast.adopt",
                "adopt": Handler().adopt,
                "binary": False,
                "write_buffer_bytes": 1000,
            }
            del message[missing]
            await send(message)

        peer = Peer(app)
        await peer.ask()

        assert peer.status == 500


class TestMessages:
    async def test_messages_reach_the_client(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.send("Grüße")
        handler.transport.send(b"\xff")
        await peer.settle()

        assert peer.received == ["Grüße", b"\xff"]

    async def test_messages_of_the_client_arrive_even_in_fragments(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(frame(TEXT, "Hold", fin=False) + frame(PING, "?") + frame(CONTINUATION, "fast"))
        await peer.settle()

        assert handler.received == ["Holdfast"]
        assert [(seen.opcode, bytes(seen.data)) for seen in peer.frames] == [(PONG, b"?")]

    async def test_a_probe_is_a_ping_and_its_answer_is_a_sign_of_life(self) -> None:
        handler = Handler()
        peer = await given(handler)
        assert handler.transport.probe()
        await peer.settle()
        assert [seen.opcode for seen in peer.frames] == [PING]
        assert handler.calls == []
        peer.receive(frame(PONG))
        assert handler.calls == ["alive"]
        peer.receive(frame(PING, "?"))
        assert (handler.calls, handler.received) == (["alive", "alive"], [])

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("binary", [False, True])
    async def test_events_arrive_in_order_in_the_encoding_of_the_connection(
        self, binary: bool, compressed: bool
    ) -> None:
        handler = Handler()
        peer = await given(handler, binary=binary, compressed=compressed)
        events = [event(1), event(2, "tide " * 300), event(3)]
        handler.transport.send_events(Burst(events))
        await peer.settle()

        assert peer.received == [e.msgpack if binary else e.json.decode() for e in events]

    @pytest.mark.parametrize("compressed", [False, True])
    async def test_a_burst_is_one_write_of_the_same_bytes_for_all_connections(
        self, compressed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deflated: list[bytes] = []
        deflate = DEFLATE.deflate
        monkeypatch.setattr(DEFLATE, "deflate", lambda data: deflated.append(data) or deflate(data))
        hubs = [Handler(), Handler()]
        peers = [await given(handler, compressed=compressed) for handler in hubs]
        written: list[bytes] = []
        for peer in peers:
            peer.wire.write = written.append  # type: ignore[method-assign]
        burst = Burst([event(1, "tide " * 300), event(2, "ebb " * 300)])
        for handler in hubs:
            handler.transport.send_events(burst)

        assert len(written) == 2
        assert written[0] is written[1]
        assert len(deflated) == (2 if compressed else 0)  # each event once, not once for each client
        assert (len(written[0]) < 300) is compressed

    async def test_the_answers_of_one_turn_are_one_write(self) -> None:
        handler = Handler()
        peer = await given(handler)
        written: list[bytes] = []
        write = peer.wire.write
        peer.wire.write = lambda data: (written.append(data), write(data))  # type: ignore[method-assign, func-returns-value]
        for answer in ("first", "second", "third"):
            handler.transport.send(answer)
        await peer.settle()

        assert peer.received == ["first", "second", "third"]
        assert len(written) == 1

    async def test_what_a_task_answers_at_once_is_written_with_the_answers_before(self) -> None:
        """A client that says hello and joins in one go: a task decides on the join."""

        class Greeting(Handler):
            def receive(self, data: str | bytes) -> None:
                if data == "hello":
                    self.transport.send("welcome")
                else:
                    self.task = asyncio.get_running_loop().create_task(self.join())

            async def join(self) -> None:
                self.transport.send("joined")

        peer = await given(Greeting())
        written: list[bytes] = []
        write = peer.wire.write
        peer.wire.write = lambda data: (written.append(data), write(data))  # type: ignore[method-assign, func-returns-value]
        peer.receive(frame(TEXT, "hello") + frame(TEXT, "join"))
        await peer.settle()

        assert peer.received == ["welcome", "joined"]
        assert len(written) == 1

    async def test_answers_and_events_keep_their_order(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.send("joined")
        handler.transport.send_events(Burst([event(1)]))
        handler.transport.send("result")
        handler.transport.close(4000, "so long")
        await peer.settle()

        assert peer.received == ["joined", event(1).json.decode(), "result"]
        assert bytes(peer.frames[-1].data) == (4000).to_bytes(2, "big") + b"so long"

    async def test_a_large_message_is_compressed_if_that_was_negotiated(self) -> None:
        handler = Handler()
        peer = await given(handler, compressed=True)
        handler.transport.send("tide " * 300)
        await asyncio.sleep(0)
        assert 0 < len(peer.wire.sent) < 100

        await peer.settle()
        assert peer.received == ["tide " * 300]


class TestSlowClients:
    @pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such bound")
    def test_the_kernel_holds_no_more_for_a_client_than_the_write_buffer(self) -> None:
        class Transport(asyncio.Transport):
            def get_extra_info(self, name: str, default: Any = None) -> Any:
                return client if name == "socket" else default

        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            with client, accepted:
                adopted_writer.bound_kernel_buffer(Transport(), 100_000)
                client.setblocking(False)
                fill(client)
                waiting = struct.unpack("i", fcntl.ioctl(client, SIOCOUTQNSD, bytes(4)))[0]
        assert 0 < waiting <= 200_000

    def test_a_unix_socket_needs_no_bound(self) -> None:
        here, there = socket.socketpair(socket.AF_UNIX)

        class Transport(asyncio.Transport):
            def get_extra_info(self, name: str, default: Any = None) -> Any:
                return here if name == "socket" else default

        with here, there:
            adopted_writer.bound_kernel_buffer(Transport(), 100_000)
            there.sendall(b"still usable")
            assert here.recv(100) == b"still usable"

    async def test_the_handler_is_paused_and_resumed(self) -> None:
        handler = Handler()
        peer = await given(handler)
        assert peer.wire.high == 1000
        handler.transport.pause_writing()
        handler.transport.resume_writing()

        assert handler.calls == ["paused", "resumed"]

    async def test_a_full_socket_is_reported_at_once_on_request(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.report_blocking()
        assert peer.wire.high == 1, "byte: nothing may wait without a word"
        peer.wire.sent.clear()
        peer.wire.stuck = True
        handler.transport.pause_writing()
        assert handler.calls == ["socket full"]

        handler.transport.send_events(Burst([event(1, "x" * 500)]))
        assert handler.calls == ["socket full"], "the write buffer has room for other topics' events"
        handler.transport.send_events(Burst([event(2, "x" * 500)]))
        assert handler.calls == ["socket full", "paused"]

        peer.wire.sent.clear()
        handler.transport.resume_writing()
        assert handler.calls == ["socket full", "paused", "resumed"]

    async def test_answers_fill_the_write_buffer_of_a_full_socket_too(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.report_blocking()
        peer.wire.sent.clear()
        peer.wire.stuck = True
        handler.transport.pause_writing()
        handler.transport.send("x" * 1500)
        await settle()
        assert handler.calls == ["socket full", "paused"]

        handler.transport.send("x" * 1500)
        assert handler.calls[2:] == ["stalled", "closed"]

    async def test_a_handler_paused_before_it_asked_for_reports_is_resumed(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.wire.stuck = True
        handler.transport.pause_writing()
        handler.transport.report_blocking()
        handler.transport.send_events(Burst([event(1)]))
        handler.transport.resume_writing()
        assert handler.calls == ["paused", "resumed"]

    async def test_answers_are_bounded(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.wire.stuck = True
        handler.transport.pause_writing()
        handler.transport.send("x" * 1500)
        assert handler.calls == ["paused"]

        handler.transport.send("x" * 1500)
        assert handler.calls[1:] == ["stalled", "closed"]
        assert peer.wire.aborted

    async def test_pongs_are_bounded(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.wire.stuck = True
        handler.transport.pause_writing()
        for _ in range(90):
            if not peer.wire.lost:
                peer.receive(frame(PING, b"x" * 125))

        assert len(peer.wire.sent) < 3000
        assert [word for word in handler.calls if word != "alive"] == ["paused", "stalled", "closed"]


class TestTurns:
    """The work that one connection may cause in one turn of the loop."""

    async def test_a_large_read_is_handled_in_portions(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(frame(TEXT, "x" * 1000) * 40)

        assert len(handler.received) == 0
        assert not peer.wire.reading
        for _ in range(20):
            await peer.settle()
        assert len(handler.received) == 40
        assert peer.wire.reading

    async def test_many_small_messages_are_handled_eight_at_a_time(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(frame(TEXT, "x") * 20)

        assert len(handler.received) == 8
        await asyncio.sleep(0)
        assert len(handler.received) == 16
        await peer.settle()
        assert len(handler.received) == 20
        assert peer.wire.reading

    async def test_messages_that_wait_for_their_turn_keep_their_order_with_later_ones(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(b"".join(frame(TEXT, str(number)) for number in range(20)))
        peer.wire.get_protocol().data_received(frame(TEXT, "20"))  # as TLS does
        await peer.settle()

        assert handler.received == [str(number) for number in range(21)]

    @pytest.mark.parametrize(
        "data",
        [frame(PING) * 101, frame(PONG) * 101, frame(TEXT, fin=False) + frame(0, fin=False) * 100],
        ids=["pings", "pongs", "empty-fragments"],
    )
    async def test_frames_that_are_no_messages_are_a_flood(self, data: bytes) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(data)
        await several_turns(peer)

        assert [word for word in handler.calls if word != "alive"] == ["flooding"]
        assert not peer.wire.reading
        assert peer.wire.eof_written
        assert peer.closed == (4029, "The client sent far more than it may.")

    async def test_a_hundred_of_them_are_none(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(frame(PING) * 50 + frame(PONG) * 50 + frame(TEXT, "after"))
        await several_turns(peer)

        assert handler.received == ["after"]

    async def test_after_a_close_of_the_server_a_client_may_send_a_hundred_frames_more(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.close(4403, "")
        peer.receive(frame(TEXT, "late") * 100)
        await several_turns(peer)
        assert not peer.wire.aborted

        peer.receive(frame(TEXT, "late"))
        assert peer.wire.aborted
        assert handler.received == []

    async def test_a_message_beyond_the_limit_of_the_connection_is_reported_and_dropped(self) -> None:
        handler = Handler()
        peer = await given(handler, message_bytes=200)
        peer.receive(frame(TEXT, "x" * 201) + frame(TEXT, "after"))

        assert handler.calls == ["oversized"]
        assert handler.received == ["after"]


async def several_turns(peer: Peer) -> None:
    for _ in range(10):
        await peer.settle()


class TestEnding:
    async def test_a_close_of_the_client_is_echoed(self) -> None:
        handler = Handler()
        peer = await given(handler)
        peer.receive(frame(TEXT, "last") + close(4001))
        await peer.settle()

        assert peer.closed == (4001, "")
        assert handler.received == ["last"]
        assert handler.calls == ["closed"]
        assert not peer.state.connections

    async def test_a_close_of_the_handler_reaches_the_client(self) -> None:
        handler = Handler()
        peer = await given(handler)
        handler.transport.close(4002, "evicted")
        written = bytes(peer.wire.sent)
        handler.transport.close(4003, "twice")
        handler.transport.send("late")
        handler.transport.send_events(Burst([event(1)]))
        peer.receive(frame(TEXT, "crossing") + frame(PING))
        assert peer.wire.sent == written
        await peer.settle()

        assert peer.closed == (4002, "evicted")
        assert (peer.received, handler.received) == ([], [])
        assert handler.calls == []
        await peer.flush()
        assert handler.calls == ["closed"]

    async def test_a_client_that_does_not_answer_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adopted_writer, "CLOSE_SECONDS", 0.01)
        handler = Handler()
        peer = await given(handler)
        handler.transport.close(4002, "evicted")
        await asyncio.sleep(0.03)

        assert peer.wire.aborted
        assert handler.calls == ["closed"]

    async def test_a_client_that_closes_and_does_not_read_is_cut_off(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(adopted_writer, "CLOSE_SECONDS", 0.01)
        handler = Handler()
        peer = await given(handler)
        peer.wire.stuck = True
        peer.receive(close(1000))
        await asyncio.sleep(0.03)

        assert handler.calls == ["closed"]

    async def test_a_lost_connection_is_reported_once(self) -> None:
        handler = Handler()
        peer = await given(handler)
        await peer.lose(ConnectionResetError())
        handler.transport.send("late")

        assert handler.calls == ["closed"]
        assert not peer.state.connections

    @pytest.mark.parametrize("half_closes", [True, False])
    async def test_a_client_that_violates_the_protocol_is_closed_with_the_reason(
        self, half_closes: bool
    ) -> None:
        handler = Handler()
        peer = await given(handler, wire=Wire(half_closes=half_closes))
        peer.receive(frame(TEXT, "before") + frame(TEXT, "x" * 2001))
        await peer.settle()

        assert peer.closed == (1009, "message longer than 2000 bytes")
        assert handler.received == ["before"]
        assert peer.wire.eof_written or peer.wire.lost

    async def test_a_stopping_server_shuts_the_handler_down(self) -> None:
        handler = Handler()
        peer = await given(handler)
        for connection in list(peer.state.connections):
            connection.shutdown()

        assert handler.calls == ["shut down"]
        assert not peer.wire.is_closing()

"""Notices: signals and log records about connections, without a secret in any of them."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast import Event, Topic, action, signals
from holdfast.auth.base import Identity
from holdfast.connections import notices
from holdfast.connections.boundary import BoundaryPolicy
from holdfast.connections.connection import Connection
from holdfast.limits.base import Rate
from holdfast.process import limited_log
from holdfast.process.limited_log import LogLimit
from holdfast.protocol import codes
from holdfast.protocol.codec import JSON
from holdfast.protocol.limits import Limits
from tests.support.connected import Socket, User, fleet, identity_of

NAMES = (
    "connection_accepted",
    "connection_refused",
    "connection_closed",
    "join_refused",
    "limit_hit",
    "evicted",
)
ADDRESS = "203.0.113.7"


class Said(Event):
    text: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]

    async def may_join(self, user: Any) -> bool:
        return self.room != "secret"

    @action(rate="1/h")
    async def say(self, caller: Any, text: str) -> str:
        return text


class Receivers:
    """Receivers of all signals, which record what they got."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.receivers: list[Callable[..., None]] = []
        for name in NAMES:
            self._connect(name)

    def _connect(self, name: str) -> None:
        def receive(**values: Any) -> None:
            values.pop("signal")
            assert values.pop("sender") is None
            self.got.append((name, values))

        self.receivers.append(receive)
        getattr(signals, name).connect(receive)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [values for found, values in self.got if found == name]

    def disconnect(self) -> None:
        for name, receiver in zip(NAMES, self.receivers, strict=True):
            getattr(signals, name).disconnect(receiver)


@pytest.fixture
def heard() -> Iterator[Receivers]:
    receivers = Receivers()
    yield receivers
    receivers.disconnect()


async def connect(here: Any, user: User | None = None, *, address: str = ADDRESS, full: float = 0) -> Socket:
    process = here.processes[0]
    hub = await process.runtime.hub()
    identity = Identity(user=identity_of(user).user, address=address)
    found = await process.service.boundary.admit(identity.network, hub.loop.time())
    found.full = full
    return Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity, found))


async def test_a_connection_is_accepted_and_closed(heard: Receivers) -> None:
    async with fleet(Room) as here:
        socket = await connect(here, User(7))
        number = socket.connection.id
        socket.say(type="hello", payload={})
        sent = len(json.dumps({"type": "hello", "payload": {}}))
        socket.connection.hang_up(codes.DISCONNECTED)
        socket.connection.closed()
        socket.connection.closed()
    who = {"transport": "test", "address": ADDRESS, "connection_id": number, "user_id": "7"}
    accepted, closed = heard.got
    assert accepted == ("connection_accepted", who)
    duration = closed[1].pop("duration")
    assert closed == (
        "connection_closed",
        who | {"code": "disconnected", "close_code": 4403, "bytes_received": sent, "bytes_sent": None},
    )
    assert 0 <= duration < 5


async def test_a_connection_that_the_client_ends_has_no_code(heard: Receivers) -> None:
    async with fleet(Room) as here:
        socket = await connect(here)
        socket.connection.closed()
    (closed,) = heard.of("connection_closed")
    assert (closed["code"], closed["close_code"], closed["user_id"]) == (None, None, None)


async def test_a_connection_of_a_user_who_has_too_many_is_refused(heard: Receivers) -> None:
    async with fleet(Room) as here:
        socket = await connect(here, User(7), full=30.0)
        socket.connection.closed()
    assert [name for name, _ in heard.got] == ["limit_hit", "connection_refused"]
    assert heard.of("limit_hit")[0]["limit"] == "connections_per_user"
    (refused,) = heard.of("connection_refused")
    assert (refused["code"], refused["close_code"], refused["retry_after"]) == (
        "too_many_connections",
        4030,
        30.0,
    )


async def test_a_refused_join_and_an_eviction_name_the_topic(heard: Receivers) -> None:
    async with fleet(Room) as here:
        socket = await connect(here, User(7))
        socket.say(type="hello", payload={})
        socket.ask_to_join("rooms/secret")
        socket.ask_to_join("no/such", ref=2)
        socket.ask_to_join("rooms/open", ref=3)
        await socket.hear()
        await Room(room="open").aevict_all()
        await socket.hear()
    refused = [(each["topic"], each["code"], each["retry_after"]) for each in heard.of("join_refused")]
    assert refused == [("rooms/secret", "forbidden", None), ("no/such", "forbidden", None)]
    assert [(each["topic"], each["code"], each["user_id"]) for each in heard.of("evicted")] == [
        ("rooms/open", "evicted", "7")
    ]


@pytest.mark.parametrize(
    ("limits", "limit", "messages"),
    [
        ({"burst": 1, "messages_per_second": 1}, "messages", [{"type": "ping"}] * 2),
        ({"topics": 1}, "topics", [{"type": "join", "ref": n, "topic": f"rooms/{n}"} for n in (1, 2)]),
        (
            {"joins_per_second": 1, "join_burst": 1},
            "joins",
            [{"type": "join", "ref": n, "topic": f"rooms/{n}"} for n in (1, 2)],
        ),
    ],
)
async def test_a_limit_that_is_hit_is_named(
    limits: dict[str, Any], limit: str, messages: list[Any], heard: Receivers
) -> None:
    async with fleet(Room, limits=Limits(heartbeat=1e9, **limits)) as here:
        socket = await connect(here)
        for message in messages:
            socket.say(**message)
        await socket.hear()
    (hit,) = heard.of("limit_hit")
    assert (hit["limit"], hit["address"]) == (limit, ADDRESS)
    assert hit["retry_after"] is None or 0 < hit["retry_after"] <= 1


async def test_a_call_beyond_its_rate_is_a_limit(heard: Receivers) -> None:
    async with fleet(Room) as here:
        socket = await connect(here, User(7))
        socket.say(type="hello", payload={})
        socket.ask_to_join("rooms/open")
        await socket.hear()
        for ref in (2, 3):
            socket.ask("rooms/open", "say", ref, text="hi")
            await socket.hear()
    (hit,) = heard.of("limit_hit")
    assert (hit["limit"], hit["topic"]) == ("call_rate", "rooms/open")
    assert hit["retry_after"] > 0


async def test_guessing_tokens_is_a_limit(heard: Receivers) -> None:
    async with fleet(Room) as here:
        boundary = here.processes[0].service.boundary
        boundary._policy = BoundaryPolicy(failed_tokens=Rate(count=1, seconds=60.0))
        for _ in range(2):
            socket = await connect(here)
            socket.say(type="hello", payload={"token": "a-guess"})
            await socket.hear()
    (hit,) = heard.of("limit_hit")
    assert (hit["limit"], hit["address"]) == ("failed_tokens", ADDRESS)


# ── receivers ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the log that all other tests are without."""
    monkeypatch.setattr(limited_log, "_limit", LogLimit())


async def test_a_receiver_that_raises_disturbs_nothing_and_is_logged_once(
    heard: Receivers, caplog: pytest.LogCaptureFixture, limited: None
) -> None:
    def broken(**values: Any) -> None:
        raise RuntimeError("the receiver is broken")

    signals.connection_accepted.connect(broken)
    try:
        async with fleet(Room) as here:
            for _ in range(3):
                socket = await connect(here)
                socket.say(type="hello", payload={})
                assert [frame["type"] for frame in await socket.hear()] == ["welcome"]
    finally:
        signals.connection_accepted.disconnect(broken)
    assert len(heard.of("connection_accepted")) == 3
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(record.name, record.exc_info is not None) for record in errors] == [
        ("holdfast.connections", True)
    ]
    assert "connection_accepted" in errors[0].getMessage()


def test_an_async_receiver_is_refused_when_it_is_connected() -> None:
    async def receiver(**values: Any) -> None:
        pass

    with pytest.raises(TypeError, match="cannot wait"):
        signals.connection_closed.connect(receiver)


def test_without_a_receiver_and_below_the_level_no_notice_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for notice in (notices.ACCEPTED, notices.CLOSED):
        monkeypatch.setattr(notice.signal, "receivers", [])  # other tests may have left some
    logging.getLogger("holdfast").setLevel(logging.WARNING)
    try:
        assert not notices.ACCEPTED.wanted
        assert not notices.CLOSED.wanted
        assert notices.REFUSED.wanted
    finally:
        logging.getLogger("holdfast").setLevel(logging.NOTSET)


# ── log records ──────────────────────────────────────────────────────────────────────────────────────────────────────

PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A formatter like those that projects use for JSON: the message, and every attribute that is not a log record's own."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in PLAIN}
        return json.dumps(
            {"logger": record.name, "level": record.levelname, "message": record.getMessage()} | extra
        )


async def test_records_carry_the_values_for_json_formatters(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps one handler for all tests.
    monkeypatch.setattr(caplog.handler, "formatter", JsonFormatter())
    caplog.set_level(logging.INFO, "holdfast")
    async with fleet(Room) as here:
        socket = await connect(here, User(7))
        number = socket.connection.id
        socket.say(type="hello", payload={})
        socket.ask_to_join("rooms/secret")
        await socket.hear()
        socket.connection.closed()
    lines = [json.loads(caplog.handler.format(record)) for record in caplog.records]
    lines = [line for line in lines if "holdfast_notice" in line]
    assert [(line["logger"], line["level"], line["holdfast_notice"]) for line in lines] == [
        ("holdfast.connections.accepted", "INFO", "connection_accepted"),
        ("holdfast.connections.join_refused", "INFO", "join_refused"),
        ("holdfast.connections.closed", "INFO", "connection_closed"),
    ]
    for line in lines:
        assert (line["holdfast_connection_id"], line["holdfast_user_id"], line["holdfast_address"]) == (
            number,
            "7",
            ADDRESS,
        )
    assert lines[1]["holdfast_topic"] == "rooms/secret"


async def test_records_that_clients_can_cause_are_limited(
    caplog: pytest.LogCaptureFixture, limited: None
) -> None:
    caplog.set_level(logging.INFO, "holdfast")
    async with fleet(Room) as here:
        socket = await connect(here)
        socket.say(type="hello", payload={})
        for ref in range(20):
            socket.ask_to_join(f"rooms/secret{ref}/x", ref=ref)
        await socket.hear()
    records = [record for record in caplog.records if record.name == "holdfast.connections.join_refused"]
    assert len(records) == 1


async def test_no_record_and_no_signal_has_a_secret_in_it(
    heard: Receivers, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole story: ticket in the query, token in hello and refresh, payloads, refusals, a close."""
    secrets = ["tok-hello-1", "tok-bad-2", "tick-3", "payload-4", "cookie-5", "client-6"]
    caplog.set_level(logging.DEBUG, "holdfast")
    async with fleet(Room) as here:
        here.tokens["tok-hello-1"] = User(7)
        process = here.processes[0]
        hub = await process.runtime.hub()
        identity = Identity(
            user=identity_of(None).user,
            address=ADDRESS,
            query_string="ticket=tick-3&topic=rooms/open",
            session_key="cookie-5",
        )
        socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, identity))
        socket.say(type="hello", payload={"token": "tok-hello-1", "client": "client-6"})
        await socket.hear()
        socket.ask_to_join("rooms/open")
        socket.ask_to_join("rooms/secret", ref=2)
        await socket.hear()
        for ref in (3, 4):
            socket.ask("rooms/open", "say", ref, text="payload-4")
            await socket.hear()
        socket.say(type="refresh", ref=5, payload={"token": "tok-bad-2"})
        await socket.hear()
        await Room(room="open").aevict_all()
        await socket.hear()
        socket.connection.hang_up(codes.DISCONNECTED)
        socket.connection.closed()
    assert {name for name, _ in heard.got} == set(NAMES) - {"connection_refused"}
    told = repr(heard.got) + "".join(repr(vars(record)) + record.getMessage() for record in caplog.records)
    for secret in secrets:
        assert secret not in told
    plain = (str, int, float, type(None))
    assert all(isinstance(value, plain) for _, values in heard.got for value in values.values())


async def test_signals_come_on_the_event_loops_thread(heard: Receivers) -> None:
    loops: list[Any] = []

    def note(**values: Any) -> None:
        loops.append(asyncio.get_running_loop())

    signals.connection_accepted.connect(note)
    async with fleet(Room) as here:
        await connect(here)
    assert loops == [asyncio.get_running_loop()]

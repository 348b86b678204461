"""Exceptions of the project's code have one meaning wherever they are raised: no, try again, or a fault."""

import asyncio
import contextlib
import errno
import logging
import socket
import sqlite3
import threading
import urllib.error
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

import pytest
import redis.exceptions
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError, ObjectDoesNotExist, PermissionDenied, ValidationError
from django.core.signing import BadSignature, SignatureExpired
from django.db import InterfaceError, OperationalError, ProgrammingError, connections
from django.http import Http404

import holdfast
from holdfast import Event, Presence, Refuse, Topic, action
from holdfast.auth.base import AuthRequest, Identity
from holdfast.connections import authorization
from holdfast.connections.authorization import Pair, may_all_join
from holdfast.connections.reauthorize import PAUSES, ROUNDS
from holdfast.log.base import LogUnavailable, NotMigrated
from holdfast.presence.base import PresenceUnavailable
from holdfast.threads.threads import Threads
from holdfast.topics.failures import Verdict, verdict_of
from tests.connections.test_reauthorize import PERIOD, inline
from tests.services.postgres import PostgresServer
from tests.support.clock import in_jumping_time
from tests.support.connected import Socket, User, fleet
from tests.support.identities import ANONYMOUS

NO = [PermissionDenied("no"), Http404("not here"), ObjectDoesNotExist("nothing")]


def sqlite_error(sql: str) -> OperationalError:
    """Return the error that Django raises for SQLite's error."""
    try:
        with contextlib.closing(
            sqlite3.connect(":memory:")
        ) as database:  # the error keeps its frames, and they the rest
            database.execute(sql)
    except sqlite3.Error as cause:
        error = OperationalError(str(cause))
        error.__cause__ = cause
        return error
    raise AssertionError(sql)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (PermissionDenied(), Verdict.DENIED),
        (Refuse("no"), Verdict.DENIED),
        (BadSignature(), Verdict.DENIED),
        (SignatureExpired(), Verdict.DENIED),
        (ValidationError("no"), Verdict.INVALID),
        (Http404(), Verdict.MISSING),
        (ObjectDoesNotExist(), Verdict.MISSING),
        (OperationalError("server closed the connection"), Verdict.UNAVAILABLE),
        (InterfaceError("connection already closed"), Verdict.UNAVAILABLE),
        (LogUnavailable(), Verdict.UNAVAILABLE),
        (NotMigrated(), Verdict.UNAVAILABLE),
        (PresenceUnavailable(), Verdict.UNAVAILABLE),
        (TimeoutError(), Verdict.UNAVAILABLE),
        (ConnectionRefusedError(), Verdict.UNAVAILABLE),
        (OSError(errno.EHOSTUNREACH, "no route"), Verdict.UNAVAILABLE),
        (socket.gaierror(-3, "try again"), Verdict.UNAVAILABLE),
        (urllib.error.URLError("refused"), Verdict.UNAVAILABLE),
        (urllib.error.HTTPError("u", 503, "busy", Message(), None), Verdict.UNAVAILABLE),
        (urllib.error.HTTPError("u", 404, "gone", Message(), None), Verdict.FAULT),
        (redis.exceptions.ConnectionError(), Verdict.UNAVAILABLE),
        (redis.exceptions.BusyLoadingError(), Verdict.UNAVAILABLE),
        (redis.exceptions.TimeoutError(), Verdict.UNAVAILABLE),
        (redis.exceptions.ResponseError(), Verdict.FAULT),
        (sqlite_error("SELECT * FROM nothing"), Verdict.FAULT),
        (ProgrammingError(), Verdict.FAULT),
        (FileNotFoundError(), Verdict.FAULT),
        (FieldError(), Verdict.FAULT),
        (ZeroDivisionError(), Verdict.FAULT),
    ],
    ids=repr,
)
def test_an_exception_means_the_same_everywhere(error: Exception, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict


def test_errors_of_packages_that_are_not_installed_are_recognized_by_name() -> None:
    transport_error = type("TransportError", (Exception,), {"__module__": "httpx"})
    connect_error = type("ConnectError", (transport_error,), {"__module__": "httpx"})
    assert verdict_of(connect_error()) is Verdict.UNAVAILABLE


# ── topics that raise ────────────────────────────────────────────────────────────────────────────────────────────────


class Raising:
    """The exceptions that each part of the topics below raises, if any."""

    rule: "Exception | None" = None
    call_rule: "Exception | None" = None
    snapshot: "Exception | None" = None
    meta: "Exception | None" = None
    action: "Exception | None" = None


class Said(Event):
    n: int


def check(error: "Exception | None") -> bool:
    if error is not None:
        raise error
    return True


class Hall(Topic):
    """A topic whose methods are all a ``def``."""

    route = "halls/<int:hall>"
    events = [Said]
    presence = Presence()

    def may_join(self, user: Any) -> bool:
        return check(Raising.rule)

    def may_call(self, caller: Any, action: str) -> bool:
        return check(Raising.call_rule)

    def snapshot(self) -> bool:
        return check(Raising.snapshot)

    def presence_meta(self, user: Any) -> bool:
        return check(Raising.meta)

    @action
    def work(self, caller: Any) -> bool:
        return check(Raising.action)


class Room(Topic):
    """A topic whose methods are all an ``async def``."""

    route = "rooms/<int:room>"
    events = [Said]
    presence = Presence()

    async def may_join(self, user: Any) -> bool:
        return check(Raising.rule)

    async def may_call(self, caller: Any, action: str) -> bool:
        return check(Raising.call_rule)

    async def snapshot(self) -> bool:
        return check(Raising.snapshot)

    async def presence_meta(self, user: Any) -> bool:
        return check(Raising.meta)

    @action
    async def work(self, caller: Any) -> bool:
        return check(Raising.action)


@pytest.fixture(autouse=True)
def _nothing_raises() -> Iterator[None]:
    yield
    for name in vars(Raising):
        if not name.startswith("_"):
            setattr(Raising, name, None)


each_topic = pytest.mark.parametrize("topic", ["halls/1", "rooms/1"])
each_no = pytest.mark.parametrize("error", NO, ids=repr)


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.exc_info]


async def joined(here: Any, topic: str, pk: int = 1) -> Socket:
    socket: Socket = await here.processes[0].connect(User(pk))
    assert (await socket.join(topic))["type"] == "joined"
    return socket


def code(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["payload"]["code"] for frame in frames if frame["type"] in ("error", "left", "goodbye")]


@each_topic
@pytest.mark.parametrize("part", ["rule", "snapshot", "meta"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, {"code": "forbidden"}) for error in NO),
        (OperationalError("away"), {"code": "unavailable", "retry_after": 1.0}),
        (TimeoutError(), {"code": "unavailable", "retry_after": 1.0}),
        (redis.exceptions.ConnectionError("away"), {"code": "unavailable", "retry_after": 1.0}),
        (ZeroDivisionError(), {"code": "internal"}),
    ],
    ids=repr,
)
@in_jumping_time
async def test_the_answer_to_a_join_follows_from_the_meaning_of_the_exception(
    topic: str, part: str, error: Exception, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    setattr(Raising, part, error)
    async with fleet(Hall, Room) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        answer = (await socket.join(topic))["payload"]
        del answer["message"]
        assert answer == expected
        assert bool(tracebacks(caplog)) == (expected["code"] == "internal")
        setattr(Raising, part, None)
        assert (await socket.join(topic))["type"] == "joined"


async def heard(socket: Socket) -> dict[str, Any]:
    """Return the next frame that is not about presence. The work behind it runs in real threads."""
    async with asyncio.timeout(20):
        while True:
            while not socket.frames:  # noqa: ASYNC110 - real threads bring it
                await asyncio.sleep(0.01)
            frame = socket.frames.pop(0)
            if frame["type"] != "presence":
                return frame


def calling(topic: str) -> list[dict[str, Any]]:
    """Join, make the rules and the action raise, call, and return the answer and the frames that came with it."""

    async def story() -> list[dict[str, Any]]:
        async with fleet(Hall, Room, recheck_seconds=0) as here:
            later = {name: getattr(Raising, name) for name in ("rule", "call_rule", "action")}
            for name in later:
                setattr(Raising, name, None)
            socket = await here.processes[0].connect(User(1))
            socket.ask_to_join(topic)
            assert (await heard(socket))["type"] == "joined"
            for name, error in later.items():
                setattr(Raising, name, error)
            socket.ask(topic, "work")
            answer = await heard(socket)
            return [answer, *(frame for frame in await socket.hear() if frame["type"] != "presence")]

    return asyncio.run(story())


@each_topic
@each_no
@pytest.mark.django_db(transaction=True)
def test_a_rule_that_raises_a_no_at_a_call_ends_the_subscription(
    topic: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    Raising.rule = error
    assert code(calling(topic)) == ["forbidden", "forbidden"]
    assert tracebacks(caplog) == []


@each_topic
@each_no
@pytest.mark.django_db(transaction=True)
def test_a_call_rule_that_raises_a_no_refuses_the_call(
    topic: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    Raising.call_rule = error
    assert code(calling(topic)) == ["forbidden"]
    assert tracebacks(caplog) == []


@each_topic
@pytest.mark.django_db(transaction=True)
def test_a_call_rule_that_refuses_gives_its_reason(topic: str) -> None:
    Raising.call_rule = Refuse("later")
    assert calling(topic)[0]["payload"]["reason"] == "later"


@each_topic
@pytest.mark.parametrize("part", ["rule", "call_rule", "action"])
@pytest.mark.parametrize("error", [OperationalError("away"), TimeoutError()], ids=repr)
@pytest.mark.django_db(transaction=True)
def test_a_call_that_met_an_outage_may_be_tried_again(topic: str, part: str, error: Exception) -> None:
    setattr(Raising, part, error)
    assert code(calling(topic)) == ["unavailable"]


def drf(name: str, detail: Any) -> Exception:
    """An exception of Django REST framework, which is recognized by its name."""
    kind = type(name, (Exception,), {"__module__": "rest_framework.exceptions"})
    error: Any = kind()
    error.detail = detail
    return error  # type: ignore[no-any-return]


@each_topic
@pytest.mark.parametrize(
    ("error", "errors"),
    [
        (ValidationError({"title": ["Too long.", "Too loud."]}), {"title": ["Too long.", "Too loud."]}),
        (ValidationError("Not on Sundays."), {"__all__": ["Not on Sundays."]}),
        (ValidationError("%(day)s is over.", params={"day": "Sunday"}), {"__all__": ["Sunday is over."]}),
        (drf("ValidationError", {"title": ["Too long."]}), {"title": ["Too long."]}),
        (drf("ValidationError", ["Too late."]), {"__all__": ["Too late."]}),
        (drf("ValidationError", {"tags": [{}, {"name": ["Taken."]}]}), {"tags": ["name: Taken."]}),
    ],
    ids=repr,
)
@pytest.mark.django_db(transaction=True)
def test_an_action_that_finds_values_not_valid_says_which(
    topic: str, error: Exception, errors: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    Raising.action = error
    (answer,) = calling(topic)
    assert answer["payload"]["code"] == "invalid_payload"
    assert answer["payload"]["errors"] == errors
    assert tracebacks(caplog) == []


@each_topic
@pytest.mark.parametrize("error", [Http404("no"), ObjectDoesNotExist("no"), drf("NotFound", "no")], ids=repr)
@pytest.mark.django_db(transaction=True)
def test_an_action_that_does_not_find_something_is_no_fault(
    topic: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    Raising.action = error
    assert code(calling(topic)) == ["not_found"]
    assert tracebacks(caplog) == []


@each_topic
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_client_sees_the_details_of_a_fault_only_in_development(
    topic: str, debug: bool, settings: Any
) -> None:
    settings.DEBUG = debug
    Raising.action = ZeroDivisionError("a secret")
    (answer,) = calling(topic)
    assert answer["payload"]["code"] == "internal"
    assert ("(DEBUG: ZeroDivisionError: a secret)" in answer["payload"]["message"]) is debug
    assert ("secret" in str(answer)) is debug


# ── on the schedule, and after an order ──────────────────────────────────────────────────────────────────────────────


@each_topic
@each_no
@in_jumping_time
async def test_a_rule_that_raises_a_no_on_the_schedule_ends_the_subscription(
    topic: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet(Hall, Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, topic)
        await socket.hear()
        Raising.rule = error
        await asyncio.sleep(2 * PERIOD)
        assert code(await socket.hear()) == ["forbidden"]
        assert tracebacks(caplog) == []


@each_topic
@pytest.mark.parametrize(
    ("error", "expected"), [(ZeroDivisionError(), "internal"), (OperationalError("away"), "unavailable")]
)
@in_jumping_time
async def test_a_rule_without_an_answer_counts_as_a_no_after_some_rounds(
    topic: str, error: Exception, expected: str
) -> None:
    async with fleet(Hall, Room, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await joined(here, topic)
        await socket.hear()
        Raising.rule = error
        await asyncio.sleep((ROUNDS - 0.5) * PERIOD)
        assert code(await socket.hear()) == []
        Raising.rule = None  # one answer, and the rounds are counted from the start
        await asyncio.sleep(PERIOD)
        Raising.rule = error
        await asyncio.sleep((ROUNDS - 1) * PERIOD)
        assert code(await socket.hear()) == []
        await asyncio.sleep(PERIOD)
        assert code(await socket.hear()) == [expected]


@in_jumping_time
async def test_a_connection_whose_user_cannot_be_read_ends_after_some_rounds_and_may_come_back() -> None:
    async with fleet(Hall, reauthorize_seconds=PERIOD) as here:
        inline(here)
        socket = await here.processes[0].connect(User(1))
        here.broken = ConnectionError("away")
        await asyncio.sleep((ROUNDS - 0.5) * PERIOD)
        assert socket.closed is None
        await asyncio.sleep(PERIOD)
        assert socket.closed == 4050


@each_topic
@pytest.mark.parametrize(
    ("error", "expected"), [(ZeroDivisionError(), "internal"), (OperationalError("away"), "unavailable")]
)
@in_jumping_time
async def test_the_exception_of_a_revocations_check_decides_whether_the_client_retries(
    topic: str, error: Exception, expected: str
) -> None:
    async with fleet(Hall, Room) as here:
        inline(here)
        socket = await joined(here, topic)
        await socket.hear()
        Raising.rule = error
        await Hall(hall=1).arecheck()
        await Room(room=1).arecheck()
        await asyncio.sleep(sum(PAUSES) + 1)
        assert code(await socket.hear()) == [expected]


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Gate(Topic):
    """A topic whose rule waits when it is asked about user 13."""

    route = "gates/<int:gate>"
    released = threading.Event()
    asked: "list[Any]" = []

    def may_join(self, user: Any) -> bool:
        Gate.asked.append(user)
        if user == 13:
            Gate.released.wait(30)
        return True


async def test_a_rule_that_hangs_leaves_only_its_own_question_unanswered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authorization, "RULES_SECONDS", 0.3)
    Gate.asked.clear()
    Gate.released.clear()
    threads = Threads(2)
    try:
        answers = await may_all_join(threads, [Pair(Gate(gate=1), Identity(user=user)) for user in range(20)])
        assert [repr(answer) for answer in answers] == [
            "TimeoutError()" if user == 13 else "True" for user in range(20)
        ]
    finally:
        Gate.released.set()
        threads.close()
    assert Gate.asked == list(range(20)), "the visit that was given up asks no further"


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def hello(here: Any, find: Callable[[str], Any]) -> Socket:
    async def authenticate(request: AuthRequest) -> Identity | None:
        return Identity(user=find(str(request.token)))

    process = here.processes[0]
    process.service.authenticator.authenticate = authenticate  # type: ignore[method-assign]
    socket: Socket = await process.connect()
    socket.connection.closed()
    from holdfast.connections.connection import Connection
    from holdfast.protocol.codec import JSON

    hub = await process.runtime.hub()
    socket = Socket(lambda sink: Connection(process.service, hub, sink, JSON, ANONYMOUS))
    socket.say(type="hello", payload={"token": "t"})
    return socket


@pytest.mark.parametrize(
    ("error", "closed", "again"),
    [
        (OperationalError("away"), 4051, True),
        (TimeoutError(), 4051, True),
        (redis.exceptions.ConnectionError("away"), 4051, True),
        (ObjectDoesNotExist(), 4401, False),
        (SignatureExpired(), 4041, True),
        (ZeroDivisionError(), 4401, False),
    ],
    ids=repr,
)
@in_jumping_time
async def test_a_token_function_that_met_an_outage_closes_so_that_the_client_comes_back(
    error: Exception, closed: int, again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet(Hall) as here:
        socket = await hello(here, lambda token: check(error))
        (goodbye,) = await socket.hear()
        assert (socket.closed, goodbye["payload"]["reconnect"]) == (closed, again)
        assert bool(tracebacks(caplog)) == isinstance(error, ZeroDivisionError)


@in_jumping_time
async def test_a_refresh_that_met_an_outage_changes_nothing_and_may_be_sent_again() -> None:
    async with fleet(Hall) as here:
        socket = await hello(here, lambda token: User(1) if token == "t" else check(OperationalError("away")))
        await socket.hear()
        socket.say(type="refresh", ref=4, payload={"token": "newer"})
        (answer,) = await socket.hear()
        assert (answer["ref"], answer["payload"]["code"], answer["payload"]["retry_after"]) == (
            4,
            "unavailable",
            1.0,
        )
        assert socket.closed is None


# ── a real database that goes away ───────────────────────────────────────────────────────────────────────────────────


class Ledger(Topic):
    """A topic whose parts all query the database, which cuts all connections in the middle when ``cut`` is set."""

    route = "ledgers/<int:ledger>"
    events = [Said]
    presence = Presence()
    cut: "Callable[[], None] | None" = None
    part = ""

    def _ask(self, part: str) -> bool:
        connections["postgres"].ensure_connection()
        if Ledger.cut is not None and Ledger.part == part:
            Ledger.cut()
        get_user_model().objects.using("postgres").count()
        return True

    def may_join(self, user: Any) -> bool:
        return self._ask("may_join")

    def snapshot(self) -> bool:
        return self._ask("snapshot")

    def presence_meta(self, user: Any) -> bool:
        return self._ask("presence_meta")


@pytest.mark.parametrize("part", ["may_join", "snapshot", "presence_meta"])
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_while_postgresql_cuts_connections_it_is_unavailable_and_afterwards_it_works(
    part: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with fleet(Ledger) as here:
            socket = await here.processes[0].connect(User(1))
            Ledger.cut, Ledger.part = postgres_server.disconnect_everyone, part
            socket.ask_to_join("ledgers/1")
            answer = await heard(socket)
            assert (answer["type"], answer["payload"]["code"]) == ("error", "unavailable")
            Ledger.cut = None
            socket.ask_to_join("ledgers/1")
            assert (await heard(socket))["type"] == "joined"

    asyncio.run(story())
    assert tracebacks(caplog) == []


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_recheck_while_postgresql_is_away_is_repeated_until_it_answers(
    postgres_server: PostgresServer,
) -> None:
    async def story() -> None:
        async with fleet(Ledger) as here:
            socket = await here.processes[0].connect(User(1))
            socket.ask_to_join("ledgers/1")
            assert (await heard(socket))["type"] == "joined"
            cuts = iter(range(2))

            def cut_twice() -> None:
                for _ in cuts:
                    postgres_server.disconnect_everyone()
                    return

            Ledger.cut, Ledger.part = cut_twice, "may_join"
            await holdfast.arecheck(1)
            async with asyncio.timeout(20):
                while not socket.connection.joined_topics()[0].checked > 0:  # type: ignore[index]  # noqa: ASYNC110 - real threads bring it
                    await asyncio.sleep(0.01)
            assert socket.connection.still_joined(socket.connection.joined_topics()[0])  # type: ignore[index]
            assert [frame["type"] for frame in socket.frames if frame["type"] != "presence"] == []

    asyncio.run(story())


@pytest.fixture(autouse=True)
def _nothing_is_cut(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, logger="holdfast")
    yield
    Ledger.cut = None

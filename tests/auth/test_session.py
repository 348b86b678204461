"""Sessions: the identity of a handshake by its cookie, and the answer to a handshake that is refused."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheKey, memcache_key_warnings
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.signing import BadSignature
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext, override_settings

from holdfast import runtime
from holdfast.auth import session_store as sessions
from holdfast.auth.base import Authenticator, AuthRequest, Identity
from holdfast.auth.revalidation import revalidate
from holdfast.auth.session import (
    BATCH_SIZE,
    LONGEST_GATHERING,
    SessionAuthenticator,
    SessionReader,
    session_key,
)
from holdfast.threads.threads import Threads
from holdfast.topics.failures import Verdict, verdict_of
from holdfast.transports.authentication import request_of
from tests.support.clock import in_jumping_time, turns
from tests.support.handshakes import identified
from tests.support.identities import ANONYMOUS

ENGINES = ("db", "cache", "cached_db", "file", "signed_cookies")
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class Picky(ModelBackend):
    """A backend with a rule of its own."""

    def get_user(self, user_id: Any) -> Any:
        if user_id == 13:
            raise LookupError("there is no thirteenth")
        return super().get_user(user_id)


PICKY = f"{__name__}.Picky"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Any, db: None) -> Iterator[str]:
    name = f"django.contrib.sessions.backends.{request.param}"
    with override_settings(SESSION_ENGINE=name, SESSION_FILE_PATH=str(tmp_path)):
        yield name
    caches["default"].clear()


def make_user(name: str = "ada", **more: Any) -> Any:
    return get_user_model().objects.create_user(name, password="first", **more)


def sign_in(
    user: Any, *, backend: str = MODEL_BACKEND, expiry: int | None = None, pk: str | None = None
) -> str:
    """A session of the user's, in the store; its key."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = pk or user._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = backend
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if expiry is not None:
        session.set_expiry(expiry)
    session.save()
    key: str = session.session_key
    return key


def users(*keys: str) -> list[Any]:
    return [found if isinstance(found, Exception) else found.user for found in sessions.find(keys)]


# ── sessions and users ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("together", [1, 3])
def test_a_session_is_its_users(engine: str, together: int) -> None:
    ada, ben = make_user(), make_user("ben")
    keys = [sign_in(ada), sign_in(ben), sign_in(ada)][:together]
    assert users(*keys) == [ada, ben, ada][:together]


@pytest.mark.parametrize("together", [1, 2])
def test_an_unknown_session_is_anonymous(engine: str, together: int) -> None:
    found = sessions.find(["nosuchsession0000000000000000000", sign_in(make_user())][:together])[0]
    assert isinstance(found, sessions.Found)
    assert found.user == AnonymousUser()


def test_an_expired_session_is_anonymous(engine: str) -> None:
    if "signed_cookies" in engine:
        pytest.skip("it has one age for all sessions, that of their cookie")
    ada = make_user()
    assert users(sign_in(ada, expiry=-10), sign_in(ada))[0] == AnonymousUser()


def test_a_new_password_ends_the_session_and_nothing_is_written(engine: str) -> None:
    ada = make_user()
    key = sign_in(ada)
    ada.set_password("second")
    ada.save()
    assert users(key, key) == [AnonymousUser(), AnonymousUser()]
    if "signed_cookies" not in engine:
        assert import_module(engine).SessionStore(key)[SESSION_KEY] == str(ada.pk)


def test_a_session_from_before_the_secret_key_changed_still_holds_under_its_old_key(engine: str) -> None:
    if "signed_cookies" in engine:
        pytest.skip("the key is the signature there")
    ada = make_user()
    key = sign_in(ada)
    with override_settings(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        found = sessions.find([key])[0]
        assert isinstance(found, sessions.Found)
        assert (found.user, found.session.session_key) == (ada, key)
    with override_settings(SECRET_KEY="a new one"):
        assert users(key) == [AnonymousUser()]


@pytest.mark.parametrize("together", [1, 2])
def test_the_session_of_a_deactivated_user_is_anonymous(engine: str, together: int) -> None:
    ada = make_user()
    key = sign_in(ada)
    ada.is_active = False
    ada.save()
    assert set(users(*[key] * together)) == {AnonymousUser()}


@pytest.mark.parametrize("together", [1, 2])
def test_the_session_of_a_deleted_user_is_anonymous(engine: str, together: int) -> None:
    ada = make_user()
    key = sign_in(ada)
    ada.delete()
    assert set(users(*[key] * together)) == {AnonymousUser()}


def test_a_session_of_a_removed_backend_is_anonymous(db: None) -> None:
    assert users(sign_in(make_user(), backend=PICKY)) == [AnonymousUser()]


def test_sessions_in_the_database_are_read_together(db: None) -> None:
    keys = [sign_in(make_user(f"user{number}")) for number in range(10)]
    with CaptureQueriesContext(connection) as queries:
        found = users(*keys)
    assert [user.username for user in found] == [f"user{number}" for number in range(10)]
    assert len(queries) == 2


@override_settings(AUTHENTICATION_BACKENDS=[PICKY])
def test_an_error_of_a_custom_backend_affects_one_session_only(db: None) -> None:
    ada, thirteenth = make_user(), make_user("mallory", pk=13)
    found = users(sign_in(thirteenth, backend=PICKY), sign_in(ada, backend=PICKY))
    assert isinstance(found[0], LookupError)
    assert found[1] == ada


@pytest.mark.parametrize("together", [1, 2])
def test_a_session_from_before_the_user_model_changed_fails_alone(engine: str, together: int) -> None:
    ada = make_user()
    found = users(*[sign_in(ada, pk="86b8a5a0-4a4a-4d3c-8f1e-2f1a7d5d3d11"), sign_in(ada)][:together])
    assert isinstance(found[0], ValidationError)
    assert found[1:] == [ada] * (together - 1)


def test_a_connection_that_the_database_closed_is_opened_again(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = make_user()
    key = sign_in(ada)
    closed: list[bool] = []
    failures = iter([OperationalError("server closed the connection unexpectedly")])
    read = sessions._sessions

    def fails_once(keys: Any) -> Any:
        for failure in failures:
            raise failure
        return read(keys)

    monkeypatch.setattr(sessions, "_sessions", fails_once)
    monkeypatch.setattr(sessions.connections, "close_all", lambda: closed.append(True))
    assert users(key) == [ada]
    assert closed == [True]


# ── the handshake ────────────────────────────────────────────────────────────────────────────────────────────────────


def headers(cookie: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"testserver"), (b"cookie", cookie.encode("latin-1"))]


@pytest.mark.parametrize(
    ("cookie", "key"),
    [
        ("sessionid=abc", "abc"),
        ('a=1; sessionid="abc"; b=2', "abc"),
        ("sessionid=", None),
        ("mysessionid=abc", None),
        ("theme=sessionid", None),
        ("sessionid\xff; =;;=", None),
    ],
)
def test_the_sessions_cookie_is_found_among_others(cookie: str, key: str | None) -> None:
    assert session_key(headers(cookie)) == key


def test_no_cookie_is_no_session() -> None:
    assert session_key([(b"host", b"testserver")]) is None


class Door(Authenticator):
    """The authenticator, and the identities that it has found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads = Threads(2, keep_connections=True)
        self.visits = 0
        self.identities: list[Identity] = []
        self._sessions = SessionAuthenticator()
        handle = self.threads.handle

        def counted(*args: Any) -> Any:
            self.visits += 1
            return handle(*args)

        monkeypatch.setattr(self.threads, "handle", counted)
        parts = SimpleNamespace(threads=self.threads, session_threads=self.threads)
        monkeypatch.setattr(runtime, "current", lambda: parts)

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        found = await self._sessions.authenticate(request)
        assert found is not None
        self.identities.append(found)
        return found

    async def revalidate(self, identities: Any) -> Any:
        return await self._sessions.revalidate(identities)

    async def come(self, cookie: str, **more: Any) -> Any:
        found = await self.authenticate(AuthRequest(headers=headers(cookie), **more))
        return None if found is None else found.user


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    made = Door(monkeypatch)
    yield made
    made.threads.close()


async def test_a_handshake_without_a_session_is_anonymous_and_uses_no_thread(door: Door) -> None:
    assert await door.come("theme=dark") == AnonymousUser()
    assert door.visits == 0


async def test_anonymous_clients_share_no_user_object(door: Door) -> None:
    """A handler may set attributes on the user of its caller."""
    assert await door.come("") is not await door.come("")


async def test_a_user_found_by_another_middleware_stays(door: Door) -> None:
    assert await door.come("sessionid=abc", user="robot") == "robot"
    assert door.visits == 0


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_sessions_of_simultaneous_handshakes_are_read_together(door: Door) -> None:
    keys = [sign_in(make_user(f"user{number}")) for number in range(30)]

    async def come() -> None:
        await asyncio.gather(*(door.come(f"sessionid={key}") for key in keys))

    asyncio.run(come())
    found = sorted(identity.user.username for identity in door.identities)
    assert found == sorted(f"user{number}" for number in range(30))
    assert {identity.session_key for identity in door.identities} == set(keys)
    assert door.visits <= 2


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_a_client_that_leaves_during_its_handshake_does_not_disturb_another(door: Door) -> None:
    key = sign_in(make_user())

    async def come() -> Any:
        leaving = asyncio.create_task(door.come(f"sessionid={key}"))
        staying = asyncio.create_task(door.come(f"sessionid={key}"))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(come()).username == "ada"


class ByHand:
    """Threads whose work the test does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[asyncio.Future[Any]] = []
        self.keys: list[list[str]] = []
        monkeypatch.setattr(runtime, "current", lambda: SimpleNamespace(session_threads=self))

    async def handle(self, info: Any, function: Any, keys: list[str]) -> Any:
        self.asked.append(asyncio.get_running_loop().create_future())
        self.keys.append(keys)
        return await self.asked[-1]


@in_jumping_time
async def _handshakes_that_come_one_by_one(threads: ByHand) -> None:
    """Thirty handshakes, one each millisecond, while a store answers at once."""
    reader, tasks = SessionReader(), []
    for number in range(30):
        tasks.append(asyncio.create_task(reader.find(f"k{number}")))
        await turns()
        for answer, keys in zip(threads.asked, threads.keys, strict=True):
            if not answer.done():
                answer.set_result(keys)
        await asyncio.sleep(0.001)
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        for answer, keys in zip(threads.asked, threads.keys, strict=True):
            if not answer.done():
                answer.set_result(keys)
    assert [await task for task in tasks] == [f"k{number}" for number in range(30)]


def test_the_sessions_of_handshakes_that_keep_coming_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ByHand(monkeypatch)
    _handshakes_that_come_one_by_one(threads)
    assert threads.keys[0] == ["k0"], "the first handshake waits for no other"
    assert len(threads.keys) <= 5


def test_a_whole_batch_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = ByHand(monkeypatch)

    @in_jumping_time
    async def come() -> None:
        reader = SessionReader()
        tasks = [asyncio.create_task(reader.find("first"))]
        await turns()
        tasks += [asyncio.create_task(reader.find(f"k{number}")) for number in range(BATCH_SIZE)]
        await turns()
        assert asyncio.get_running_loop().time() == 0.0
        assert [len(keys) for keys in threads.keys] == [1, BATCH_SIZE]
        for task in tasks:
            task.cancel()

    come()


def test_a_session_asked_for_while_the_last_reads_end_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _a_session_is_asked_for_while_the_last_reads_end(ByHand(monkeypatch).asked)


@in_jumping_time
async def _a_session_is_asked_for_while_the_last_reads_end(asked: list[asyncio.Future[Any]]) -> None:
    """Both reads end in one turn of the loop, and a third session is asked for in that turn."""
    reader = SessionReader()
    early = []
    for key in ("a", "b"):
        early.append(asyncio.create_task(reader.find(key)))
        await asyncio.sleep(2 * LONGEST_GATHERING)
    for answer, key in zip(asked, ("a", "b"), strict=True):
        answer.set_result([key])
    late = asyncio.create_task(reader.find("c"))
    await asyncio.sleep(2 * LONGEST_GATHERING)
    assert [task.result() for task in early] == ["a", "b"]
    assert len(asked) == 3, "no task reads the session that was asked for last"
    asked[2].set_result(["c"])
    assert await late == "c"


def test_an_error_of_the_store_reaches_every_handshake_of_the_batch(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(keys: Any) -> Any:
        raise LookupError("no such store")

    monkeypatch.setattr(sessions, "find", broken)

    async def come() -> list[Any]:
        return await asyncio.gather(*(door.come("sessionid=x") for _ in range(3)), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(come())] == [LookupError] * 3
    assert door.identities == []


# ── one client's session does not decide over another's ──────────────────────────────────────────────────────────────


class ToPostgres:
    """A router that keeps sessions and users in PostgreSQL."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "postgres"

    db_for_write = db_for_read


IMPOSSIBLE = ["aaaaaaa\0", "a b c d e f", "x" * 300, "\u00e9" * 20, "\x7f" * 10, "short"]


class StrictCache(LocMemCache):
    """A cache that refuses the keys which memcached refuses."""

    def validate_key(self, key: str) -> None:
        for warning in memcache_key_warnings(key):
            raise InvalidCacheKey(warning)


def sessions_in(settings: Any, cache: dict[str, Any]) -> None:
    """Let sessions be in a cache of their own; ``settings`` is pytest-django's fixture."""
    settings.CACHES = {**settings.CACHES, "sessions": cache}
    settings.SESSION_CACHE_ALIAS = "sessions"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"


@pytest.mark.django_db(transaction=True, databases=["postgres"])
@override_settings(DATABASE_ROUTERS=[f"{__name__}.ToPostgres"])
def test_a_cookie_that_postgresql_cannot_store_fails_no_other_handshake(door: Door) -> None:
    key = sign_in(make_user())

    async def come() -> list[Any]:
        good = [f"sessionid={key}"] * 20
        bad = ['sessionid="aaaaaaa\\000"', 'sessionid="' + "\\377" * 50 + '"']
        return await asyncio.gather(*(door.come(cookie) for cookie in [*good, *bad, *good]))

    found = asyncio.run(come())
    assert [user.get_username() for user in found] == ["ada"] * 20 + ["", ""] + ["ada"] * 20


@pytest.mark.parametrize("bad", IMPOSSIBLE, ids=ascii)
def test_a_key_that_django_cannot_have_made_is_anonymous_and_no_store_is_asked(engine: str, bad: str) -> None:
    if "signed_cookies" in engine and len(bad) == 300:
        pytest.skip("a cookie may be as long as that, and no store is asked for it anyway")
    ada = make_user()
    assert users(bad, sign_in(ada), bad) == [AnonymousUser(), ada, AnonymousUser()]
    with CaptureQueriesContext(connection) as queries:
        assert users(bad) == [AnonymousUser()]
    assert len(queries) == 0


@pytest.mark.parametrize("bad", IMPOSSIBLE, ids=ascii)
def test_a_key_that_the_cache_refuses_fails_no_other_session(db: None, settings: Any, bad: str) -> None:
    sessions_in(settings, {"BACKEND": f"{__name__}.StrictCache", "LOCATION": "strict"})
    ada = make_user()
    assert users(bad, sign_in(ada)) == [AnonymousUser(), ada]


@pytest.mark.parametrize("alias", ["default", "postgres"])
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_session_that_fails_the_common_query_fails_alone(
    alias: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if alias == "postgres":
        settings.DATABASE_ROUTERS = [f"{__name__}.ToPostgres"]
    ada = make_user()
    found = users(sign_in(ada), sign_in(ada, pk="9" * 40), sign_in(ada))
    assert [found[0], found[2]] == [ada, ada]
    assert found[1] == AnonymousUser() or isinstance(found[1], Exception)


def test_an_entry_of_the_cache_that_cannot_be_read_fails_alone(db: None, settings: Any) -> None:
    sessions_in(settings, {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "torn"})
    ada = make_user()
    good, torn = sign_in(ada), sign_in(ada)
    store: Any = caches["sessions"]
    entry = next(key for key in store._cache if key.endswith(torn))
    store._cache[entry] = b"torn"
    found = users(good, torn, good)
    assert [found[0], found[2]] == [ada, ada]
    assert isinstance(found[1], Exception)


def test_a_user_whose_row_cannot_be_read_fails_alone(db: None) -> None:
    ada, odd = make_user(), make_user("odd")
    odd.pk = "not a number"
    first, failed, last = revalidate([Identity(user=user) for user in (ada, odd, make_user("ben"))])
    assert isinstance(first, Identity)
    assert isinstance(last, Identity)
    assert (first.user, last.user.username) == (ada, "ben")
    assert isinstance(failed, ValueError)


@pytest.mark.django_db(transaction=True)
def test_a_host_that_is_gone_ends_no_identity_of_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def tenant(info: Any) -> Iterator[None]:
        if info.host == "gone.example":
            raise PermissionDenied("no tenant has this host")
        yield

    ada = make_user()
    threads = Threads(2, around=tenant)
    monkeypatch.setattr(runtime, "current", lambda: SimpleNamespace(threads=threads))
    hosts = ["a.example", "gone.example", "a.example"]
    try:
        first, gone, last = asyncio.run(
            SessionAuthenticator().revalidate([Identity(user=ada, host=host) for host in hosts])
        )
    finally:
        threads.close()
    assert isinstance(first, Identity)
    assert isinstance(last, Identity)
    assert isinstance(gone, PermissionDenied)


# ── a store that is away ─────────────────────────────────────────────────────────────────────────────────────────────


class Client:
    """The other end of a handshake."""

    def __init__(self, *, kind: str = "websocket", extensions: tuple[str, ...] = ()) -> None:
        self.scope = {"type": kind, "extensions": {name: {} for name in extensions}}
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.django_db(transaction=True)
def test_while_the_session_cache_is_away_no_handshake_is_anonymous_and_no_identity_ends(
    door: Door, own_redis: Any, settings: Any, together: int, caplog: pytest.LogCaptureFixture
) -> None:
    sessions_in(
        settings, {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": own_redis.url}
    )
    people = [make_user(f"user{number}") for number in range(together)]
    keys = [sign_in(user) for user in people]
    denial = "websocket.http.response"

    async def come(client: Client) -> list[dict[str, Any]]:
        scope = {**client.scope, "headers": headers(f"sessionid={keys[0]}")}
        await identified(door, scope, client.send)
        return client.sent

    def now() -> list[Any]:
        return revalidate(
            [Identity(user=user, session_key=key) for user, key in zip(people, keys, strict=True)]
        )

    assert [identity.user for identity in now()] == people
    own_redis.kill()
    assert [verdict_of(found) for found in now()] == [Verdict.UNAVAILABLE] * together
    assert asyncio.run(come(Client())) == [{"type": "websocket.close"}]
    answers = [asyncio.run(come(Client(extensions=(denial,)))), asyncio.run(come(Client(kind="http")))]
    assert [(start["status"], dict(start["headers"])[b"retry-after"]) for start, _ in answers] == [
        (503, b"1")
    ] * 2
    assert door.identities == []
    assert not [record for record in caplog.records if record.exc_info]
    own_redis.start_again()
    keys = [sign_in(user) for user in people]
    assert [identity.user for identity in now()] == people
    assert asyncio.run(come(Client())) == []
    assert door.identities[-1].user == people[0]


# ── what a transport makes of the answer ─────────────────────────────────────────────────────────────────────────────


class Closed(Authenticator):
    """Refuses every client, by ``None`` or by an exception."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        if self.error is not None:
            raise self.error
        return None

    async def revalidate(self, identities: Any) -> Any:
        return [None for _ in identities]


@pytest.mark.parametrize("error", [None, PermissionDenied(), BadSignature()], ids=repr)
@pytest.mark.parametrize(
    ("client", "answer"),
    [
        (Client(), {"type": "websocket.close"}),
        (Client(extensions=("websocket.http.response",)), {"type": "websocket.close"}),
        (Client(kind="http"), 403),
    ],
    ids=["websocket", "websocket with a response", "http"],
)
async def test_a_client_whose_credentials_are_not_valid_is_refused(
    error: Exception | None, client: Client, answer: Any
) -> None:
    client.sent.clear()
    assert await identified(Closed(error), {**client.scope, "headers": []}, client.send) is None
    assert client.sent[0].get("status", client.sent[0]) == answer


async def test_a_fault_of_an_authenticator_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await identified(Closed(ZeroDivisionError()), {**Client().scope, "headers": []}, Client().send)


def test_a_request_has_what_the_scope_says_about_the_client(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["a.example.com"]
    scope = {
        "headers": [(b"host", b"A.example.com:8000")],
        "client": ("192.0.2.1", 5000),
        "query_string": b"as=guest",
        "user": "robot",
    }
    identity = request_of(scope).identify("robot", claims={"scope": "read"})
    assert (identity.host, identity.address, identity.query.get("as")) == (
        "a.example.com",
        "192.0.2.1",
        "guest",
    )
    assert identity.claims == {"scope": "read"}
    nothing = request_of({"headers": [], "client": None}).identify(ANONYMOUS.user)
    assert (nothing.host, nothing.address, nothing.query_string) == (None, None, "")

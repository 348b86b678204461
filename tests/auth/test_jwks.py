"""Key sets from a provider that rotates its keys, is slow, is away, or is asked for keys that do not exist."""

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from holdfast.auth import jwks
from holdfast.auth.jwks import KeySet, KeysUnavailable, fetch_url, read_keys
from holdfast.topics.failures import Verdict, verdict_of
from tests.auth.test_jwt import by, identity, refused, threads, token

assert threads is not None  # a fixture for these tests too

OLD = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEW = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def entry(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm: Any = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    made = {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}
    return {name: value for name, value in made.items() if value is not None}


class Provider:
    """A provider of keys that the test controls: its answers, a count of its requests, and a clock."""

    def __init__(self) -> None:
        self.entries = [entry(OLD, "old")]
        self.asked = 0
        self.now = 1000.0
        self.away = False
        self.gate: threading.Event | None = None

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.away:
            raise OSError("unreachable")
        return json.dumps({"keys": self.entries}).encode()

    def keys(self) -> KeySet:
        return KeySet("https://id.example/keys", ["RS256"], fetch=self.fetch, now=lambda: self.now)


@pytest.fixture
def provider() -> Provider:
    return Provider()


async def settled(keys: KeySet) -> None:
    """Wait for the request that is under way."""
    if (task := keys._under_way()) is not None:
        await task


async def test_keys_are_read_once_for_many_tokens(provider: Provider) -> None:
    keys = provider.keys()
    found = await asyncio.gather(*(keys.find("old") for _ in range(50)))
    assert {key.key_id for key in found if key is not None} == {"old"}
    assert provider.asked == 1


async def test_a_key_that_the_provider_has_added_is_found(provider: Provider) -> None:
    keys = provider.keys()
    await keys.find("old")
    provider.entries = [entry(OLD, "old"), entry(NEW, "new")]
    provider.now += jwks.FETCH_EVERY_SECONDS
    assert await keys.find("new") is not None
    assert provider.asked == 2


async def test_tokens_that_name_keys_at_random_do_not_make_this_server_ask_for_each(
    provider: Provider,
) -> None:
    keys = provider.keys()
    await keys.find("old")
    for number in range(100):
        provider.now += 0.05
        with pytest.raises(KeysUnavailable):
            await keys.find(f"made-up-{number}")
    assert provider.asked == 1
    provider.now += jwks.FETCH_EVERY_SECONDS
    assert await keys.find("made-up") is None
    assert await keys.find("old") is not None
    assert provider.asked == 2


async def test_a_key_that_the_provider_has_withdrawn_is_gone(provider: Provider) -> None:
    keys = provider.keys()
    await keys.find("old")
    provider.entries = [entry(NEW, "new")]
    provider.now += jwks.FRESH_SECONDS + 1
    assert await keys.find("old") is not None, "read again in the background"
    await settled(keys)
    provider.now += jwks.FETCH_EVERY_SECONDS
    assert await keys.find("old") is None


async def test_after_a_quiet_hour_a_withdrawn_key_is_not_used_once_more(provider: Provider) -> None:
    keys = provider.keys()
    await keys.find("old")
    provider.entries = [entry(NEW, "new")]
    provider.now += 3600
    assert await keys.find("old") is None


async def test_keys_stay_in_use_while_the_provider_is_away(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    keys = provider.keys()
    await keys.find("old")
    provider.away = True
    for _ in range(5):
        provider.now += 3600
        assert await keys.find("old") is not None
    assert "1 keys are known and stay in use" in caplog.text
    with pytest.raises(KeysUnavailable) as raised:
        await keys.find("new")
    assert verdict_of(raised.value) is Verdict.UNAVAILABLE


async def test_without_any_keys_the_client_comes_back_later(provider: Provider) -> None:
    keys = provider.keys()
    provider.away = True
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await keys.find("old")
    assert provider.asked == 1
    provider.away, provider.now = False, provider.now + jwks.FETCH_EVERY_SECONDS
    assert await keys.find("old") is not None


async def test_a_slow_provider_stops_neither_the_loop_nor_tokens_with_known_keys(provider: Provider) -> None:
    keys = provider.keys()
    await keys.find("old")
    provider.gate = threading.Event()
    provider.now += jwks.FRESH_SECONDS + 1
    try:
        async with asyncio.timeout(5):
            assert await keys.find("old") is not None
        waiting = asyncio.create_task(keys.find("new"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    finally:
        provider.gate.set()
    assert await waiting is None
    assert provider.asked == 2


async def test_tokens_wait_for_a_provider_that_hangs_no_longer_than_a_request_may_take(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, loop, hung = provider.keys(), asyncio.get_running_loop(), asyncio.Event()
    await keys.find("old")
    usual = jwks.FETCH_SECONDS
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.1)
    provider.gate = threading.Event()
    read = keys._read_url

    def read_url() -> bytes:
        try:
            return read()
        finally:
            loop.call_soon_threadsafe(hung.set)

    monkeypatch.setattr(keys, "_read_url", read_url)
    try:
        provider.now += 3600
        async with asyncio.timeout(5):
            assert await keys.find("old") is not None
            # The thread still hangs. No other one is sent after it.
            provider.now += 3600
            assert await keys.find("old") is not None
            with pytest.raises(KeysUnavailable):
                await keys.find("new")
        assert provider.asked == 2
    finally:
        provider.gate.set()
    provider.entries = [entry(NEW, "new")]
    async with asyncio.timeout(5):
        await hung.wait()
    provider.gate = None
    monkeypatch.setattr(jwks, "FETCH_SECONDS", usual)
    assert await keys.find("new") is not None


async def test_a_client_that_leaves_while_keys_are_read_disturbs_no_other(provider: Provider) -> None:
    keys = provider.keys()
    provider.gate = threading.Event()
    leaving, staying = asyncio.create_task(keys.find("old")), asyncio.create_task(keys.find("old"))
    await asyncio.sleep(0.05)
    leaving.cancel()
    provider.gate.set()
    assert await staying is not None


async def test_a_token_without_a_key_id_has_the_only_key(provider: Provider) -> None:
    provider.entries = [entry(OLD, None)]
    keys = provider.keys()
    assert await keys.find(None) is not None
    provider.entries = [entry(OLD, "a"), entry(NEW, "b")]
    provider.now += 3600
    assert await keys.find(None) is None


def test_only_keys_that_can_verify_are_taken() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"}
    entries = [
        entry(OLD, "good"),
        entry(OLD, "named", alg="RS256"),
        entry(OLD, "other", alg="RS512"),
        entry(OLD, "encrypts", use="enc"),
        entry(curve, "curve"),
        secret,
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kid": "no kind"},
        "no key",
        None,
    ]
    text = json.dumps({"keys": entries}).encode()
    assert sorted(map(str, read_keys(text, ["RS256"]))) == ["good", "named"]
    assert set(read_keys(text, ["RS512"])) == {"good", "other"}
    assert set(read_keys(text, ["ES256"])) == {"curve"}


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 10_000]
)
def test_a_document_that_is_no_key_set_is_an_error(text: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_keys(text, ["RS256"])


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[http.server.BaseHTTPRequestHandler], None]], str]]:
    """Serve answers on loopback."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/keys"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def says(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


async def test_tokens_are_verified_with_keys_from_a_url(serve: Any) -> None:
    url = serve(lambda handler: says(handler, json.dumps({"keys": [entry(OLD, "old")]}).encode()))
    authenticator = by(key=None, algorithms=["RS256"], jwks_url=url, audience="live")
    good = {"header": {"kid": "old"}, "aud": "live"}
    assert await identity(authenticator, token(OLD, "RS256", **good)) is not None
    assert await refused(authenticator, token(NEW, "RS256", **good)), "another key under the same id"
    assert await refused(authenticator, token(OLD, "RS256", header={"kid": "old"}, aud="shop"))
    assert await refused(authenticator, token("s" * 64, "HS256", **good))
    assert await refused(authenticator, token(OLD, "RS512", **good))


def test_a_redirect_is_not_followed(serve: Any) -> None:
    target = serve(lambda handler: says(handler, b"{}"))
    url = serve(lambda handler: says(handler, b"", 302, Location=target))
    with pytest.raises(OSError, match="redirected to"):
        fetch_url(url)


def test_an_answer_without_an_end_is_given_up(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b" ")

    try:
        with pytest.raises(TimeoutError):
            fetch_url(serve(drip))
    finally:
        over.set()


async def test_an_answer_whose_head_has_no_end_is_given_up(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.05):
            handler.wfile.write(b".")

    try:
        async with asyncio.timeout(5):
            with pytest.raises(KeysUnavailable):
                await KeySet(serve(drip), ["RS256"]).find("old")
    finally:
        over.set()


def test_an_answer_that_is_too_large_is_given_up(serve: Any) -> None:
    url = serve(lambda handler: says(handler, b" " * (jwks.LARGEST_BYTES + 100_000)))
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        fetch_url(url)

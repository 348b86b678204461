"""Origins: the patterns that allow them, the origin of the request, and the answer to a refused page."""

import logging
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.test import override_settings

from holdfast.asgi import origin_checked
from holdfast.auth.host import host_of, own_origin
from holdfast.auth.origins import AllowedOrigins, BadOrigin, Origin, Pattern
from holdfast.protocol import codes
from holdfast.transports import origin as origin_module
from holdfast.transports import refusals
from holdfast.transports.refusals import RefusalLog

# ── patterns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com", "https://app.example.com:443"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("HTTPS://App.Example.Com", "https://app.example.com"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://*.example.com", "https://b.a.example.com"),
        ("https://*.example.com", "https://example.com"),  # as in CSRF_TRUSTED_ORIGINS
        ("https://.example.com", "https://a.example.com"),
        ("https://*.example.com:8443", "https://a.example.com:8443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_a_pattern_matches_its_origins(pattern: str, origin: str) -> None:
    assert AllowedOrigins([pattern]).admits(origin, None)
    assert AllowedOrigins([], [pattern]).admits(origin, None)


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("https://app.example.com", "http://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com", "https://app.example.com.evil.example"),
        ("https://app.example.com", "https://evil.example/https://app.example.com"),
        ("https://app.example.com", "https://user@app.example.com"),
        ("https://*.example.com", "https://evilexample.com"),
        ("https://*.example.com", "http://a.example.com"),
        ("https://*.example.com", "https://a.example.com:8443"),
        ("https://*.example.com:8443", "https://a.example.com"),
        ("https://app.example.com", "null"),
        ("https://app.example.com", ""),
        ("https://app.example.com", "https://"),
        ("https://app.example.com", "https://app.example.com:port"),
        ("https://app.example.com", "https://app.example.com:99999"),
        ("https://app.example.com", None),
        ("http://[::1]", "http://[::1"),
    ],
)
def test_a_pattern_matches_no_other_origin(pattern: str, origin: str | None) -> None:
    assert not AllowedOrigins([pattern]).admits(origin, None)
    assert not AllowedOrigins([], [pattern]).admits(origin, None)


def test_an_entry_of_django_that_no_origin_can_match_is_ignored_as_django_does() -> None:
    rule = AllowedOrigins([], ["https://app.example.com/", "https://*", "https://ok.example"])
    assert rule.admits("https://ok.example", None)
    assert not rule.admits("https://app.example.com", None)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("https://app.example.com/", 'Write "https://app.example.com".'),
        ("https://app.example.com/chat", 'Write "https://app.example.com".'),
        ("https://app.example.com?x", 'Write "https://app.example.com".'),
        ("https://app.example.com#x", 'Write "https://app.example.com".'),
        ("app.example.com", 'Write "https://app.example.com", or "http://'),
        ("app.example.com:8443", 'Write "https://app.example.com:8443", or "http://'),
        ("app.example.com/", 'Write "https://app.example.com", or "http://'),
        ("*.example.com", 'Write "https://*.example.com", or "http://'),
        ("//app.example.com", 'Write "https://app.example.com", or "http://'),
        ("https://bücher.example", 'Write "https://xn--bcher-kva.example".'),
        ("https://", "such as"),
        ("https:///", "such as"),
        ("https://*", "star"),
        ("https://app.*.com", "star"),
        ("https://*app.example.com", "star"),
        ("https://app.example.com:*", "star"),
        ("https://user@app.example.com", "such as"),
        ("https://app.example.com:", "such as"),
        ("https://app.example.com:99999", "such as"),
        ("https://app .example.com", "such as"),
        ("http://[::1", "such as"),
        ("http://[localhost]", "such as"),
        ("1http://app.example.com", "such as"),
        ("null", "Serve the page from a host"),
        ("", "such as"),
    ],
)
def test_a_pattern_that_no_origin_can_match_is_refused_with_the_way_out(pattern: str, hint: str) -> None:
    with pytest.raises(BadOrigin) as refusal:
        Pattern.parse(pattern)
    assert hint in refusal.value.hint
    with override_settings(HOLDFAST={"ORIGINS": ["https://ok.example", pattern]}):
        [message] = [found for found in run_checks() if found.id == "holdfast.E002"]
    assert repr(pattern) in message.msg.replace('"null"', "'null'")
    assert message.hint == refusal.value.hint


# ── the check ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def tried(
    origin: str | None,
    host: str | None = "example.com",
    *,
    subprotocols: Sequence[str] = ("holdfast.v1.json",),
    check: Any = None,
    **scope: Any,
) -> list[dict[str, Any]]:
    """Return the answer to a handshake; `inside` if the application was asked."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"type": "inside"})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if origin is None else [(b"origin", origin.encode("latin-1"))]
    if host is not None:
        headers.append((b"host", host.encode("latin-1")))
    given = {
        "type": "websocket",
        "path": "/live/ws",
        "subprotocols": subprotocols,
        "headers": headers,
        **scope,
    }
    await (check or origin_checked(application))(given, receive, send)
    return sent


COOKIE = (b"cookie", b"sessionid=0123456789abcdefghijklmnopqrstuv")
INSIDE = [{"type": "inside"}]
FORBIDDEN = [{"type": "websocket.close"}]
FINAL = [
    {"type": "websocket.accept", "subprotocol": "holdfast.v1.json"},
    {"type": "websocket.close", "code": 4406, "reason": codes.ORIGIN_REFUSED.message},
]


PROXY = ("HTTP_X_FORWARDED_PROTO", "https")
TLS, PLAIN = (b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")


def django_admits(origin: str, headers: Sequence[tuple[bytes, bytes]], scheme: str) -> bool:
    """Return the answer of Django's CSRF check to a POST with the same headers."""
    body_less = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    request = ASGIRequest({**body_less, "scheme": scheme.replace("ws", "http")}, BytesIO())
    middleware: Any = CsrfViewMiddleware(lambda request: HttpResponse())
    return bool(middleware._origin_verified(request))


@pytest.mark.parametrize("hosts", [["*"], [".example.com"], ["example.com", "a.example.com", "[::1]"]])
@pytest.mark.parametrize("proxy", [None, PROXY])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("sent", [None, TLS, PLAIN], ids=["direct", "tls", "plain"])
async def test_the_rule_is_that_of_djangos_csrf_check(
    hosts: list[str], proxy: Any, scheme: str, sent: tuple[bytes, bytes] | None
) -> None:
    """For each pair of an origin and a host, both allow it or both refuse it."""
    origins = [
        "http://example.com",
        "https://example.com",
        "https://example.com:8443",
        "http://a.example.com",
        "https://a.example.com",
        "http://evil.example",
        "https://evil.example",
        "http://[::1]:8000",
        "https://partner.example",
        "https://a.friends.example",
        "http://partner.example",
        "null",
    ]
    trusted = ["https://partner.example", "https://*.friends.example"]
    yes = 0
    with override_settings(
        ALLOWED_HOSTS=hosts, SECURE_PROXY_SSL_HEADER=proxy, CSRF_TRUSTED_ORIGINS=trusted, DEBUG=False
    ):
        for origin in origins:
            for host in ("example.com", "example.com:8443", "a.example.com", "[::1]:8000", "127.0.0.1"):
                headers = [(b"host", host.encode()), (b"origin", origin.encode()), COOKIE]
                headers += [] if sent is None else [sent]
                answer = await tried(origin, headers=headers, scheme=scheme)
                expected = django_admits(origin, headers, scheme)
                assert (answer == INSIDE) is expected, (origin, host)
                yes += expected
    assert yes


@pytest.mark.parametrize("hosts", [["*"], [".example.com"]])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",  # any site
        "http://one.example.com",  # another tenant
        "http://example.com",
        "http://two.example.com:8000",  # another program on the same machine
        "https://two.example.com",  # another scheme
    ],
)
async def test_a_page_of_another_site_tenant_port_or_scheme_cannot_use_the_visitors_session(
    hosts: list[str], origin: str
) -> None:
    with override_settings(ALLOWED_HOSTS=hosts):
        for headers in ([COOKIE], []):
            sent = [(b"origin", origin.encode()), (b"host", b"two.example.com"), *headers]
            assert await tried(origin, headers=sent) == FINAL
        assert await tried("http://two.example.com", "two.example.com") == INSIDE


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://tenant.localhost:8000", "tenant.localhost:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_in_development_the_hosts_that_django_serves_may_connect(origin: str, host: str) -> None:
    with override_settings(DEBUG=True, ALLOWED_HOSTS=[]):
        assert await tried(origin, host) == INSIDE
    with override_settings(DEBUG=False, ALLOWED_HOSTS=[]):
        assert await tried(origin, host) == FINAL
    with override_settings(DEBUG=True, ALLOWED_HOSTS=["example.com"]):
        assert await tried(origin, host) == FINAL


async def test_in_development_a_page_of_a_bundlers_server_needs_an_entry() -> None:
    vite = "http://localhost:5173"
    with override_settings(DEBUG=True, ALLOWED_HOSTS=[]):
        assert await tried(vite, "localhost:8000") == FINAL
    with override_settings(DEBUG=True, ALLOWED_HOSTS=[], CSRF_TRUSTED_ORIGINS=[vite]):
        assert await tried(vite, "localhost:8000") == INSIDE
    with override_settings(DEBUG=True, ALLOWED_HOSTS=[], HOLDFAST={"ORIGINS": [vite]}):
        assert await tried(vite, "localhost:8000") == INSIDE


async def test_the_settings_are_read_at_each_handshake() -> None:
    asked = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)

    check = origin_checked(application)
    two = "https://two.example"
    with override_settings(ALLOWED_HOSTS=["one.example"]):
        assert await tried(two, "one.example", check=check) == FINAL
    with override_settings(ALLOWED_HOSTS=["one.example"], HOLDFAST={"ORIGINS": ["https://*.example"]}):
        assert await tried(two, "one.example", check=check) == []
    with override_settings(ALLOWED_HOSTS=["one.example"], CSRF_TRUSTED_ORIGINS=[two]):
        assert await tried(two, "one.example", check=check) == []
    with override_settings(ALLOWED_HOSTS=["two.example"]):
        assert await tried(two, "two.example", check=check, scheme="wss") == []
    assert len(asked) == 3


# ── the request's own origin ─────────────────────────────────────────────────────────────────────────────────────────


@override_settings(ALLOWED_HOSTS=["example.com", "[::1]"])
@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ([(b"host", b"example.com")], "http://example.com"),
        ([(b"host", b"Example.com.:80")], "http://example.com"),
        ([(b"host", b"example.com:8000")], "http://example.com:8000"),
        ([(b"host", b"[::1]:8000")], "http://[::1]:8000"),
        ([], None),
        ([(b"host", b"")], None),
        ([(b"host", b"evil.example")], None),
        ([(b"host", b"example.com"), (b"host", b"evil.example")], None),
        ([(b"host", b"example.com"), (b"host", b"example.com")], None),
        ([(b"host", b"example.com/@evil.example")], None),
        ([(b"host", b"user@example.com")], None),
        ([(b"host", b"example.com:99999")], None),
        ([(b"host", b"\xff\xfe")], None),
        ([(b"host", b"example.com"), (b"x-forwarded-host", b"evil.example")], "http://example.com"),
    ],
)
def test_the_own_origin_is_that_of_the_one_host_that_django_serves(
    headers: list[tuple[bytes, bytes]], own: str | None
) -> None:
    found = own_origin(headers, "ws")
    assert (None if found is None else str(found)) == own


@override_settings(ALLOWED_HOSTS=["example.com"], USE_X_FORWARDED_HOST=True)
def test_a_proxys_host_counts_if_django_trusts_it() -> None:
    inner, outer = (b"host", b"127.0.0.1:8001"), (b"x-forwarded-host", b"example.com")
    assert own_origin([inner, outer], "wss") == Origin.parse("https://example.com")
    assert own_origin([inner, outer, outer], "wss") is None
    assert host_of([inner, outer, outer]) is None
    assert own_origin([inner], "wss") is None


@override_settings(ALLOWED_HOSTS=["example.com"])
@pytest.mark.parametrize(
    ("sent", "scheme", "own"),
    [
        ([], "wss", "https"),
        ([], "ws", "http"),
        ([b"https"], "ws", "https"),
        ([b"https, http"], "ws", "https"),
        ([b" https "], "ws", "https"),
        ([b"http"], "wss", "http"),
        ([b"http", b"https"], "ws", "http"),
        ([b"HTTPS"], "ws", "http"),
    ],
)
def test_a_proxys_scheme_counts_if_django_trusts_it(sent: list[bytes], scheme: str, own: str) -> None:
    headers = [(b"host", b"example.com"), *((b"x-forwarded-proto", value) for value in sent)]
    with override_settings(SECURE_PROXY_SSL_HEADER=PROXY):
        assert own_origin(headers, scheme) == Origin.parse(f"{own}://example.com")
    assert own_origin(headers, scheme) == Origin.parse(
        f"{'https' if scheme == 'wss' else 'http'}://example.com"
    )


@override_settings(ALLOWED_HOSTS=["*"])
@pytest.mark.parametrize(
    "origin",
    [
        "",
        "://",
        "http://",
        "http://[",
        "http://[::1",
        "http://\xff",
        "\x00",
        "http://a\x00b",
        "http://a:b",
        "http://a, http://a",
        "http://a:\xb2",
        "http://" + "a" * 70_000,
        "http://[fe80::1%25eth0]",
    ],
    ids=ascii,
)
async def test_an_origin_that_cannot_be_read_is_refused_without_a_traceback(
    origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    for host in ("a", "a, http://a", "[::1", "\xff", ""):
        sent = [(b"origin", origin.encode("latin-1")), (b"host", host.encode("latin-1")), COOKIE]
        assert await tried(origin, subprotocols=[], headers=sent) == FORBIDDEN
    assert not [record for record in caplog.records if record.exc_info]
    assert all(len(message) < 1000 for message in caplog.messages)


async def test_several_origins_are_refused_even_if_any_origin_may_connect() -> None:
    two = [
        (b"origin", b"https://example.com"),
        (b"origin", b"https://example.com"),
        (b"host", b"example.com"),
    ]
    with override_settings(ALLOWED_HOSTS=["*"], HOLDFAST={"ORIGINS": ["*"]}):
        assert await tried("https://anything.example") == INSIDE
        assert await tried(None, headers=[COOKIE]) == INSIDE
        assert await tried(None, headers=two) == FORBIDDEN


# ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────────


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_a_holdfast_client_learns_that_the_refusal_is_final_and_others_get_a_403() -> None:
    assert codes.ORIGIN_REFUSED.close == 4406
    assert await tried("https://evil.example") == FINAL
    assert await tried("null") == FINAL
    assert await tried("https://evil.example", subprotocols=[]) == FORBIDDEN
    assert await tried("https://evil.example", subprotocols=["graphql-ws"]) == FORBIDDEN
    assert await tried(None, headers=[COOKIE]) == FORBIDDEN
    two = [(b"origin", b"https://example.com"), (b"origin", b"https://evil.example")]
    assert await tried(None, headers=two) == FORBIDDEN


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_the_answer_to_a_foreign_page_depends_on_its_origin_only() -> None:
    """No cookie, path or topic changes the answer, because the server decides before it looks at those."""
    origin = (b"origin", b"https://evil.example")
    cookie = (b"cookie", b"sessionid=a-good-one")
    host = (b"host", b"example.com")
    for path in ("/live/ws", "/ws/chat/", "/nothing"):
        for headers in ([host, origin], [host, origin, cookie]):
            assert await tried("", headers=headers, path=path) == FINAL


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_without_an_origin_only_a_session_cookie_is_turned_down() -> None:
    """Browsers send an origin always, so what has none is a program. With a cookie it may be one that was tricked."""
    assert await tried(None) == INSIDE
    assert await tried(None, subprotocols=[]) == INSIDE
    assert await tried(None, headers=[(b"cookie", b"theme=dark; csrftoken=x")]) == INSIDE
    assert await tried(None, headers=[COOKIE]) == FORBIDDEN
    assert await tried("", headers=[(b"origin", b""), COOKIE]) == FINAL


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the log lines of the check, without the records of refused connections (``tests/connections/test_notices.py``)."""
    return [record for record in caplog.records if record.name == "holdfast.origin"]


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_a_refused_origin_is_logged_once_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    check = origin_checked(application)
    for _ in range(3):
        await tried("https://app.example.org", check=check)
    await tried(None, check=check, headers=[COOKIE])
    await tried("null", check=check)
    assert [record.levelno for record in lines(caplog)] == [logging.WARNING] * 3
    first, second, third = (record.getMessage() for record in lines(caplog))
    assert "page of 'https://app.example.org' was refused" in first
    assert "add 'https://app.example.org' to HOLDFAST[\"ORIGINS\"]" in first
    assert "without an Origin header" in second
    assert "'null'" in third


@override_settings(ALLOWED_HOSTS=["example.com"])
@pytest.mark.parametrize(
    ("origin", "host", "way_out"),
    [
        ("https://example.com", "example.com", "SECURE_PROXY_SSL_HEADER"),
        ("http://example.com:8000", "example.com", "pass the Host header on with its port"),
        ("http://example.com", "127.0.0.1:8001", "ALLOWED_HOSTS does not allow"),
        ("http://www.example.com", "example.com", "CSRF_TRUSTED_ORIGINS"),
    ],
)
async def test_the_log_names_what_a_proxy_has_changed(
    origin: str, host: str, way_out: str, caplog: pytest.LogCaptureFixture
) -> None:
    await tried(origin, host)
    assert way_out in lines(caplog)[0].getMessage()


def test_origins_that_a_client_makes_up_fill_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, now = RefusalLog(origin_module.logger, 0.0), 0.0
    for number in range(10_000):
        log.note(
            origin_module.explained("A WebSocket", [f"https://{number}.example" + "x" * 10_000], None), now
        )
    assert len(lines(caplog)) == refusals.LOGGED_AT_ONCE
    assert all(len(message) < 1000 for message in caplog.messages)
    for number in range(1000):
        log.note(f"a reason {number}", now + 60 * (number + 1))
    assert len(log.limit.kinds) == refusals.REMEMBERED
    assert len(lines(caplog)) == refusals.LOGGED_AT_ONCE + 1000  # a real one is still heard of


def test_a_made_up_origin_cannot_add_a_line_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog(origin_module.logger, 0.0)
    log.note(origin_module.explained("A WebSocket", ["https://evil.example\r\nERROR all is lost"], None), 0.0)
    assert not [message for message in caplog.messages if "\n" in message]

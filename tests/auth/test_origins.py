"""Origins: the patterns that allow them, ALLOWED_HOSTS, and the answer to a refused page."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from holdfast.asgi import origin_checked
from holdfast.auth.origins import AllowedOrigins, BadOrigin, Pattern
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
    assert AllowedOrigins([], [pattern]).admits(origin)


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
    assert not AllowedOrigins([], [pattern]).admits(origin)


@pytest.mark.parametrize(
    ("host", "origin", "admitted"),
    [
        ("example.com", "https://example.com", True),
        ("example.com", "http://example.com:8000", True),
        ("Example.com", "http://example.com", True),
        ("example.com", "http://example.com.", True),
        ("example.com", "http://a.example.com", False),
        (".example.com", "http://a.example.com", True),
        (".example.com", "http://example.com", True),
        (".example.com", "http://evilexample.com", False),
        ("[::1]", "http://[::1]:8000", True),
        ("127.0.0.1", "http://127.0.0.1:8000", True),
        ("example.com:8000", "http://example.com:8000", False),  # matches no host in Django either
        ("*", "https://anything.example", True),
        ("*", None, True),
    ],
)
def test_a_host_admits_its_origins_with_any_scheme_and_port(
    host: str, origin: str | None, admitted: bool
) -> None:
    assert AllowedOrigins([host], []).admits(origin) is admitted


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
    *,
    subprotocols: Sequence[str] = ("holdfast.v1.json",),
    check: Any = None,
    **scope: Any,
) -> list[dict[str, Any]]:
    """What is answered to a handshake; `inside` if the application was asked."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"type": "inside"})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if origin is None else [(b"origin", origin.encode())]
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


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8000", "http://tenant.localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"],
)
async def test_in_development_the_hosts_that_django_serves_may_connect(origin: str) -> None:
    with override_settings(DEBUG=True, ALLOWED_HOSTS=[]):
        assert await tried(origin) == INSIDE
    with override_settings(DEBUG=False, ALLOWED_HOSTS=[]):
        assert await tried(origin) == FINAL
    with override_settings(DEBUG=True, ALLOWED_HOSTS=["example.com"]):
        assert await tried(origin) == FINAL


async def test_the_settings_are_read_at_each_handshake() -> None:
    asked = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)

    check = origin_checked(application)
    with override_settings(ALLOWED_HOSTS=["one.example"]):
        assert await tried("https://two.example", check=check) == FINAL
    with override_settings(ALLOWED_HOSTS=["one.example"], HOLDFAST={"ORIGINS": ["https://*.example"]}):
        assert await tried("https://two.example", check=check) == []
    with override_settings(ALLOWED_HOSTS=["two.example"]):
        assert await tried("https://two.example", check=check) == []
    assert len(asked) == 2


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
    """No cookie, path or topic changes it, as it is decided before those are looked at."""
    origin = (b"origin", b"https://evil.example")
    cookie = (b"cookie", b"sessionid=a-good-one")
    for path in ("/live/ws", "/ws/chat/", "/nothing"):
        for headers in ([origin], [origin, cookie]):
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


@override_settings(ALLOWED_HOSTS=["example.com"])
async def test_a_refused_origin_is_logged_once_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    check = origin_checked(application)
    for _ in range(3):
        await tried("https://app.example.org", check=check)
    await tried(None, check=check, headers=[COOKIE])
    await tried("null", check=check)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    first, second, third = caplog.messages
    assert "page of 'https://app.example.org' was refused" in first
    assert "add 'https://app.example.org' to HOLDFAST[\"ORIGINS\"]" in first
    assert "without an Origin header" in second
    assert "'null'" in third


def test_origins_that_a_client_makes_up_fill_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, now = RefusalLog(origin_module.logger, 0.0), 0.0
    for number in range(10_000):
        log.note(origin_module._explained([f"https://{number}.example" + "x" * 10_000]), now)
    assert len(caplog.records) == refusals.LOGGED_AT_ONCE
    assert all(len(message) < 1000 for message in caplog.messages)
    for number in range(1000):
        log.note(f"a reason {number}", now + 60 * (number + 1))
    assert len(log.limit.kinds) == refusals.REMEMBERED
    assert len(caplog.records) == refusals.LOGGED_AT_ONCE + 1000  # a real one is still heard of


def test_a_made_up_origin_cannot_add_a_line_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog(origin_module.logger, 0.0)
    log.note(origin_module._explained(["https://evil.example\r\nERROR all is lost"]), 0.0)
    assert "\n" not in caplog.messages[0]

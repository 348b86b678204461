"""Origins at the HTTP endpoints: which pages get an answer, and the CORS headers of those that do."""

import json
import logging
from typing import Any

import pytest
from django.test import override_settings

from holdfast.asgi import answering_readiness

HOST = (b"host", b"example.com")
COOKIE = (b"cookie", b"sessionid=a-good-one")
ENDPOINTS = [("GET", "/live/sse"), ("GET", "/live/poll"), ("POST", "/live/call")]
ALLOWED = "https://app.example.org"

pytestmark = [pytest.mark.usefixtures("hosts")]


@pytest.fixture
def hosts() -> Any:
    with override_settings(ALLOWED_HOSTS=["example.com"], CSRF_TRUSTED_ORIGINS=[ALLOWED]):
        yield


class Answer:
    def __init__(self, sent: list[Any]) -> None:
        start, *rest = sent
        self.status: int = start["status"]
        self.headers = dict(start["headers"])
        self.body = b"".join(message.get("body", b"") for message in rest)


async def asked(method: str, path: str, *headers: tuple[bytes, bytes], origin: str | None = None) -> Answer:
    """Send a request that the endpoint itself answers with 400 or 405, if it gets there."""
    sent: list[Any] = []
    given = [HOST, *headers, *([] if origin is None else [(b"origin", origin.encode())])]
    body = iter([{"type": "http.request", "body": b"{", "more_body": False}])

    async def receive() -> Any:
        return next(body)

    async def send(message: Any) -> None:
        sent.append(message)

    async def django(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a live path came to Django")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "https",
        "query_string": b"",
        "headers": given,
    }
    await answering_readiness(django)(scope, receive, send)
    return Answer(sent)


def got_through(answer: Answer, path: str) -> bool:
    """Whether the endpoint answered: it misses a topic, or the end of the JSON."""
    return answer.status == 400 and (b"topic" in answer.body or b"malformed" in answer.body)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://example.com", "https://example.com:8443", "null", "", "a b"]
)
@pytest.mark.parametrize("cookies", [[], [COOKIE]], ids=["anonymous", "session"])
async def test_a_foreign_page_is_refused_everywhere(
    method: str, path: str, origin: str, cookies: Any
) -> None:
    answer = await asked(method, path, *cookies, origin=origin)
    assert answer.status == 403
    assert b"access-control-allow-origin" not in answer.headers
    if method == "POST":
        assert json.loads(answer.body)["payload"]["code"] == "origin_refused"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_several_origins_are_refused(method: str, path: str) -> None:
    two = [(b"origin", b"https://example.com")] * 2
    assert (await asked(method, path, *two)).status == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_pages_of_this_origin_and_programs_get_through(method: str, path: str) -> None:
    for origin in ("https://example.com", None):
        answer = await asked(method, path, origin=origin)
        assert got_through(answer, path), answer.body
        assert b"access-control-allow-origin" not in answer.headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_an_allowed_origin_gets_cors_headers_on_every_answer(method: str, path: str) -> None:
    for answer in (await asked(method, path, origin=ALLOWED), await asked("PUT", path, origin=ALLOWED)):
        assert answer.status in (400, 405)
        assert answer.headers[b"access-control-allow-origin"] == ALLOWED.encode()
        assert answer.headers[b"access-control-allow-credentials"] == b"true"
        assert answer.headers[b"vary"] == b"Origin"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_preflight_of_an_allowed_origin_is_answered(method: str, path: str) -> None:
    wish = (b"access-control-request-method", method.encode())
    answer = await asked("OPTIONS", path, wish, origin=ALLOWED)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers[b"access-control-allow-origin"] == ALLOWED.encode()
    assert answer.headers[b"access-control-allow-methods"] == method.encode()
    allowed = answer.headers[b"access-control-allow-headers"].split(b", ")
    assert {b"content-type", b"authorization", b"x-csrftoken", b"last-event-id"} == set(allowed)
    assert int(answer.headers[b"access-control-max-age"]) > 0
    refused = await asked("OPTIONS", path, wish, origin="https://evil.example")
    assert refused.status == 403
    assert b"access-control-allow-origin" not in refused.headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/live/sse", "/live/poll"])
@pytest.mark.parametrize(
    ("site", "cookies", "passes"),
    [
        (b"cross-site", [COOKIE], False),
        (b"same-site", [COOKIE], False),
        (b"cross-site", [], True),
        (b"same-origin", [COOKIE], True),
        (b"none", [COOKIE], True),
        (None, [COOKIE], True),
    ],
)
async def test_a_get_without_an_origin_may_not_bring_a_session_from_another_site(
    path: str, site: bytes | None, cookies: Any, passes: bool
) -> None:
    fetch = [] if site is None else [(b"sec-fetch-site", site)]
    answer = await asked("GET", path, *cookies, *fetch)
    assert got_through(answer, path) is passes
    assert passes or answer.status == 403


async def test_a_refused_page_is_logged_once_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        await asked("GET", "/live/sse", origin="https://evil.example")
    lines = [record for record in caplog.records if record.name == "holdfast.origin"]
    assert [record.levelno for record in lines] == [logging.WARNING] * 3, "one for each application"
    assert "A request (sse) from a page of 'https://evil.example' was refused" in lines[0].getMessage()

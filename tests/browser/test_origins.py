"""Pages of other sites, tenants and ports, in Chromium: none may use the visitor's session, and each learns that it is final."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from playwright.sync_api import Browser

from tests.browser import harbor as harbor_module
from tests.browser.conftest import People
from tests.browser.harbor import Harbor, Person

CLIENT = Path(__file__).resolve().parents[2] / "src/holdfast/static/holdfast/holdfast.js"

PAGE = """<!doctype html><script type="module">
  import { connect } from "/holdfast.js";
  window.seen = [];
  window.sockets = 0;
  window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); window.sockets++; } };
  const live = connect({ url: "%s", backoff: { base: 1, cap: 1 } });
  live.on("status", (status, { error }) => window.seen.push([status, error?.code ?? null]));
  live.topic("rooms/lobby");
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    cookies: ClassVar[list[str]] = []
    """The cookies of each request."""

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere(tmp_path: Path, harbor: Harbor) -> Iterator[str]:
    """Another site on this machine, whose page connects to Harbor; its address."""
    (tmp_path / "site").mkdir()
    shutil.copy(CLIENT, tmp_path / "site")
    (tmp_path / "site" / "index.html").write_text(PAGE % f"ws://127.0.0.1:{harbor.port}/live/ws")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://elsewhere.localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site_learns_that_it_is_final(
    people: People, harbor: Harbor, elsewhere: str
) -> None:
    page = people("ada").enter().page.context.new_page()
    page.goto(elsewhere)
    page.wait_for_function("window.seen.length && window.seen.at(-1)[0] === 'closed'")
    assert page.evaluate("window.seen") == [["connecting", None], ["closed", "origin_refused"]]
    assert page.evaluate("window.sockets") == 1
    assert f"add '{elsewhere}' to HOLDFAST[\"ORIGINS\"]" in harbor.output()


# ── cross-site hijacking: a page that is not ours, with the visitor's cookie ─────────────────────────────────────────

HIJACK = """url => new Promise((done) => {
  const said = [];
  const socket = new WebSocket(url, "holdfast.v1.json");
  socket.onopen = () => {
    socket.send(JSON.stringify({ type: "hello" }));
    socket.send(JSON.stringify({ type: "join", ref: 1, topic: "rooms/lobby" }));
  };
  socket.onmessage = (event) => {
    said.push(JSON.parse(event.data).type);
    if (said.length === 2) done([said, null]);
  };
  socket.onclose = (event) => done([said, event.code]);
})"""


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Harbor serve every subdomain of one domain, as a site with tenants does."""
    monkeypatch.setattr(
        harbor_module,
        "environment",
        lambda directory: {**ENVIRONMENT(directory), "HARBOR_HOSTS": ".shop.localhost"},
    )


ENVIRONMENT = harbor_module.environment


@pytest.mark.parametrize(
    ("site", "attacker"),
    [
        (
            "two.shop.localhost",
            "http://one.shop.localhost:{port}/login/",
        ),  # another tenant of the same server
        ("two.shop.localhost", "http://two.shop.localhost:{other}/"),  # another program on the same host
        ("127.0.0.1", "http://127.0.0.1:{other}/"),
    ],
)
def test_a_page_of_another_tenant_or_port_cannot_use_the_visitors_session(
    tenants: None, harbor: Harbor, elsewhere: str, browser: Browser, site: str, attacker: str
) -> None:
    """Browsers attach the cookie: to them the two are one site."""
    url = f"ws://{site}:{harbor.port}/live/ws"
    harbor.url = f"http://{site}:{harbor.port}"
    with browser.new_context(bypass_csp=True) as context:  # an attacker's page has no policy
        visitor = Person(context, harbor, "ada")
        visitor.sign_in()
        assert visitor.page.evaluate(HIJACK, url) == [["welcome", "joined"], None]

        page = context.new_page()
        other = elsewhere.rpartition(":")[2]
        page.goto(attacker.format(port=harbor.port, other=other))
        assert page.evaluate(HIJACK, url) == [[], 4406]
        # The handshake had the cookie: a request to another port of that host, which records its headers, has it too.
        page.evaluate(HIJACK, f"ws://{site}:{other}/")
        assert "sessionid=" in Quiet.cookies[-1]

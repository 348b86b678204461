"""A page of another site: its browser cannot read a 403, so it is told in a way that it can."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.conftest import People
from tests.browser.harbor import Harbor

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

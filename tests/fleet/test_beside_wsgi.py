"""gunicorn keeps the pages, `holdfast serve` has the live URLs, nginx stands between: docs/how-to/beside-wsgi.md."""

import asyncio
import dataclasses
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.asgi_servers.client import Live
from tests.asgi_servers.servers import BIN, GENEROUS, ROOT, Kind, Prepared, Running, environment_for
from tests.services.nginx import Nginx, running_nginx
from tests.services.processes import Server, free_port, start

PAGE = ROOT / "docs" / "how-to" / "beside-wsgi.md"
SERVE = Kind(
    name="serve",
    command=lambda port, _: ["python", "-m", "django", "holdfast", "serve", "--port", str(port)],
)
PAGES = Kind(
    name="gunicorn",
    command=lambda port, _: [
        *("gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2"),
        "django.core.wsgi:get_wsgi_application()",
    ],
)


@dataclass(kw_only=True)
class Site:
    front: Running
    live: Running
    pages: Running
    nginx: Nginx

    def asked(self, path: str) -> list[str]:
        """The servers that nginx asked last for this path. It logs a request after the client has got the answer."""
        found: list[list[str]] = []

        def logged() -> bool:
            found[:] = [asked for _, asked, _, where in self.nginx.requests() if where == path]
            return bool(found)

        self.nginx.server.wait_until(logged)
        return found[-1]


def _upstreams(template: str, pages: int) -> str:
    """The template with the second upstream as the page shows it. The tab keeps `site()` from changing it as well."""
    (upstream,) = re.findall(r"^upstream holdfast \{\n.*?^\}\n", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    given = re.sub(
        r"^ +server 127\.0\.0\.1:8000;.*$", f"\tserver 127.0.0.1:{pages};", upstream, flags=re.MULTILINE
    )
    assert f":{pages};" in given
    changed, found = re.subn(
        r"^upstream holdfast \{\n.*?^\}\n", given, template, flags=re.MULTILINE | re.DOTALL
    )
    assert found == 1
    return changed


def _least(template: str, live: int, pages: int) -> str:
    """The template with the page's own `location /live/` in place of ours."""
    (location,) = re.findall(r"^location /live/ \{\n.*?^\}\n", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    given = location.replace("127.0.0.1:8001", f"127.0.0.1:{live}")
    assert f":{live};" in given
    changed, found = re.subn(
        r"^    location /live/ \{\n.*?^    \}\n",
        given,
        _upstreams(template, pages),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert found == 1
    return changed


@pytest.fixture(scope="module", params=["our file", "the least"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory: Path = tmp_path_factory.mktemp("beside")
    prepared = Prepared.make(directory)
    environment = {
        **environment_for(prepared.database, {**GENEROUS, "RECONCILE_SECONDS": 0.2, "DRAIN_SECONDS": 0}),
        "DJANGO_SETTINGS_MODULE": "tests.asgi_servers.project.settings",
    }
    with ExitStack() as stack:

        def begin(kind: Kind) -> Running:
            port = free_port()
            program, *arguments = kind.command(port, "")
            process: Server = start(
                kind.name, [BIN / program, *arguments], directory=directory, env=environment
            )
            stack.callback(process.stop, seconds=20)
            server = Running(kind=kind, port=port, process=process, users=prepared.users)
            process.wait_until(server.ready)
            return server

        live, pages = begin(SERVE), begin(PAGES)
        nginx = stack.enter_context(
            running_nginx(
                [f"127.0.0.1:{live.port}"],
                adapt=lambda text: (
                    _upstreams(text, pages.port)
                    if request.param == "our file"
                    else _least(text, live.port, pages.port)
                ),
            )
        )
        yield Site(front=dataclasses.replace(live, port=nginx.port), live=live, pages=pages, nginx=nginx)


@pytest.fixture
def room() -> str:
    return f"r{uuid4().hex[:12]}"


async def test_what_a_page_of_gunicorn_publishes_reaches_the_live_client(site: Site, room: str) -> None:
    async with Live(site.front) as ada:
        await ada.join(f"rooms/{room}")
        await asyncio.to_thread(site.front.get, f"say/{room}/?count=2&size=2")
        assert site.asked(f"/say/{room}/?count=2&size=2") == [f"127.0.0.1:{site.pages.port}"]
        events = [await ada.event(), await ada.event()]
    assert [(event["payload"]["text"], event["offset"]) for event in events] == [("0:", 1), ("1:", 2)]


async def test_the_cookie_of_the_pages_counts_for_the_live_connection(site: Site) -> None:
    assert await asyncio.to_thread(site.front.get, "me/", "ada") == "ada"
    assert site.asked("/me/") == [f"127.0.0.1:{site.pages.port}"]
    async with Live(site.front) as ada:
        welcome = await ada.hello()
    assert welcome["payload"]["user"] == str(site.live.users["ada"].id)


async def test_calls_are_carried_out_by_the_live_server_and_seen_by_the_pages(site: Site, room: str) -> None:
    async with Live(site.front) as ada:
        await ada.join(f"rooms/{room}")
        assert (await ada.call(f"rooms/{room}", "say", key=uuid4().hex, text="hi"))["type"] == "result"
    assert await asyncio.to_thread(site.front.get, f"sayings/{room}/") == '["hi"]'
    assert site.asked(f"/sayings/{room}/") == [f"127.0.0.1:{site.pages.port}"]

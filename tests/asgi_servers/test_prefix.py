"""A project below a prefix: live topics are found wherever its pages are."""

import dataclasses
import re
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.services.nginx import running_nginx

from .client import Live
from .conftest import EACH, Pool, trouble
from .servers import EXPLICIT, GENEROUS, SERVERS, SHORT, Kind, Running, running
from .test_serve import SERVE, SETTINGS

PREFIX = "/sub"

[HOLDFAST] = [kind for kind in SERVERS if kind.name == "holdfast"]
SERVING = Kind(
    name="serve",
    command=lambda port, _: [*SERVE, "--port", str(port)],
    environment=SETTINGS,
)


def forced(kind: Kind) -> Kind:
    """Fixture: the prefix comes from the settings."""
    return dataclasses.replace(kind, environment={**kind.environment, "LIVE_SCRIPT_NAME": PREFIX})


def told(kind: Kind) -> Kind:
    """Fixture: the prefix comes from the server's option."""
    return dataclasses.replace(
        kind, command=lambda port, app: [*kind.command(port, app), kind.prefix_option, PREFIX]
    )


@contextmanager
def served(pool: Pool, kind: Kind, directory: Path, app: str = SHORT) -> Iterator[Running]:
    with running(kind, pool.prepared, directory, app=app, holdfast=GENEROUS) as server:
        yield server
        wrong = trouble(server)
        assert not wrong, "\n".join(wrong)


def page(server: Running, path: str) -> bool:
    try:
        return server.get(f"{path}me/", "ada") == "ada"
    except urllib.error.HTTPError as error:
        error.close()
        return False


async def live(server: Running, path: str) -> bool:
    try:
        async with Live(server, path=f"{path}live/ws") as ada:
            return (await ada.hello())["payload"]["user"] == server.users["ada"].id
    except InvalidStatus:
        return False


def ready(server: Running, path: str) -> bool:
    try:
        return server.get(f"{path}live/ready") == "ready\n"
    except urllib.error.HTTPError as error:
        error.close()
        return False


@pytest.mark.parametrize("say", [forced, told], ids=["FORCE_SCRIPT_NAME", "option"])
@pytest.mark.parametrize("kind", [*EACH, pytest.param(SERVING, id="serve")])
async def test_live_topics_are_found_where_pages_are(
    pool: Pool, tmp_path: Path, kind: Kind, say: object
) -> None:
    """It works whether a proxy keeps or removes the prefix, on every server."""
    with served(pool, say(kind), tmp_path) as server:  # type: ignore[operator]
        found = {path: page(server, path) for path in ("", "sub/", "submarine/", "sub/sub/")}
        assert found[""], "with a proxy that takes the prefix away"
        assert not found["submarine/"]
        assert {path: await live(server, path) for path in found} == found
        assert {path: ready(server, path) for path in found} == found


async def test_consumers_are_found_below_the_prefix(pool: Pool, tmp_path: Path) -> None:
    with served(pool, forced(HOLDFAST), tmp_path) as server:
        async with Live(server, path="sub/ws/echo/", subprotocols=()) as consumer:
            assert await consumer.socket.recv() == "hello ada"


@pytest.mark.parametrize("path", ["", "sub/"])
async def test_the_explicit_routing_finds_live_topics_too(pool: Pool, tmp_path: Path, path: str) -> None:
    with served(pool, forced(HOLDFAST), tmp_path, EXPLICIT) as server:
        assert page(server, path)
        assert await live(server, path)


def below(prefix: str, *, strips: bool) -> object:
    """Serve deploy/nginx/holdfast.conf below a prefix."""

    def adapt(text: str) -> str:
        text = re.sub(r"location (/live)?/ \{", rf"location {prefix}\1/ {{", text)
        text = text.replace("location = /live/poll", f"location = {prefix}/live/poll")
        if strips:
            text = text.replace("proxy_pass http://holdfast_live;", "proxy_pass http://holdfast_live/live/;")
            text = text.replace(
                "proxy_pass http://holdfast_polls;", "proxy_pass http://holdfast_polls/live/poll;"
            )
            text = text.replace("proxy_pass http://holdfast;", "proxy_pass http://holdfast/;")
        return text

    return adapt


@pytest.mark.parametrize("strips", [False, True], ids=["passes the prefix on", "takes the prefix away"])
@pytest.mark.parametrize("say", [forced, told], ids=["FORCE_SCRIPT_NAME", "option"])
@pytest.mark.parametrize("name", ["daphne", "serve"])
async def test_live_topics_are_found_behind_nginx(
    pool: Pool, tmp_path: Path, name: str, say: object, strips: bool
) -> None:
    [kind] = [kind for kind in (*SERVERS, SERVING) if kind.name == name]
    with ExitStack() as stack:
        server = stack.enter_context(served(pool, say(kind), tmp_path))  # type: ignore[operator]
        adapt = below(PREFIX, strips=strips)
        nginx = stack.enter_context(running_nginx([f"127.0.0.1:{server.port}"], adapt=adapt))  # type: ignore[arg-type]
        through = dataclasses.replace(server, port=nginx.port)
        found = page(through, "sub/")
        # Uvicorn puts its --root-path in front of what the proxy passes on.
        assert found is not (say is told and name == "serve" and not strips)
        assert await live(through, "sub/") is found

"""Readiness: `/live/ready` on each server, and while `holdfast serve` drains."""

import asyncio
import http.client
import signal
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import pytest

from .client import Live
from .conftest import Pool
from .servers import Running
from .test_draining import ended, goodbye, many, served, tell


def ask(port: int, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, "/live/ready", headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_a_serving_server_is_ready(server: Running) -> None:
    assert ask(server.port) == (200, "ready\n")
    assert ask(server.port, "HEAD") == (200, "")
    assert ask(server.port, "POST")[0] == 405


def test_a_server_with_explicit_routing_is_ready(explicit: Running) -> None:
    assert ask(explicit.port) == (200, "ready\n")


def test_a_request_whose_upgrade_a_proxy_dropped_gets_426(server: Running) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", "/live/ws")
        response = connection.getresponse()
        assert response.status == 426
        assert "proxy" in response.read().decode()
    assert "make the proxy pass the headers Upgrade and Connection" in server.process.log.read_text()


def test_a_probe_by_address_is_answered_too(server: Running) -> None:
    """Kubernetes probes use the address of the pod, and no host in `ALLOWED_HOSTS`."""
    assert ask(server.port, host="10.1.2.3:8000") == (200, "ready\n")


def test_the_first_probe_finds_a_server_without_connections(own: Running) -> None:
    """Daphne does not announce its start to the application; the first probe starts the hub."""
    assert ask(own.port) == (200, "ready\n")


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "worker"])
async def test_a_draining_server_is_not_ready(pool: Pool, tmp_path: Path, workers: tuple[str, ...]) -> None:
    with served(pool, tmp_path, *workers, drain=3) as server, ExitStack() as kept:
        proxy = kept.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)))

        def ask_again() -> tuple[int, str]:
            proxy.request("GET", "/live/ready")
            response = proxy.getresponse()
            return response.status, response.read().decode()

        assert ask_again() == (200, "ready\n")
        async with AsyncExitStack() as stack:
            clients: list[Live] = await many(server, stack, 60)
            told = [asyncio.create_task(goodbye(client)) for client in clients]
            tell(server, signal.SIGTERM)
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            assert await asyncio.to_thread(ask_again) == (503, "draining\n")
            await asyncio.gather(*told)
        assert await ended(server, 10) == 0

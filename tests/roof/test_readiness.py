"""`/live/ready` without a server. tests/asgi_servers asks real servers."""

from typing import Any

import pytest
from django.test import override_settings

from holdfast import runtime as runtimes
from holdfast import wiring
from holdfast.asgi import answering_readiness
from holdfast.backplane.memory import MemoryBackplane
from holdfast.log.memory import MemoryLog
from holdfast.runtime import Runtime
from holdfast.threads.threads import Inline, Threads


class Unreachable(MemoryBackplane):
    async def start(self, *arguments: Any, **more: Any) -> Any:
        raise ConnectionError("redis://:secret@nowhere")


async def django(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"Django's"})


async def ask(path: str = "/live/ready", root_path: str = "") -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "root_path": root_path}
    await answering_readiness(django)(scope, None, send)
    return sent[0]["status"], sent[1]["body"]


def parts(backplane: MemoryBackplane) -> Runtime:
    return Runtime(
        log=MemoryLog(), backplane=backplane, threads=Threads(1, name="test"), log_threads=Inline()
    )


@pytest.fixture
async def runtime() -> Any:
    with runtimes.using(parts(MemoryBackplane())) as made:
        yield made
        await made.stop()


async def test_django_answers_other_paths(runtime: Runtime) -> None:
    for path in ("/", "/ready", "/live/ready/", "/live/readyness", "/other/live/ready"):
        assert await ask(path) == (404, b"Django's")


async def test_readiness_is_below_the_root_path_of_the_server(runtime: Runtime) -> None:
    assert (await ask("/app/live/ready", "/app"))[0] == 200


@pytest.mark.parametrize("forced", ["/app", "/app/"])
async def test_readiness_is_below_force_script_name(runtime: Runtime, forced: str) -> None:
    with override_settings(FORCE_SCRIPT_NAME=forced):
        # With a proxy that leaves the prefix there, and one that does not.
        for path in (
            "/app/live/ready",
            "/live/ready",
        ):
            assert (await ask(path))[0] == 200
        assert (await ask("/appear/live/ready"))[0] == 404
        assert (await ask("/applive/ready"))[0] == 404


async def test_a_process_that_has_begun_to_end_is_not_ready(runtime: Runtime) -> None:
    assert await ask() == (200, b"ready\n")
    runtimes.leave()
    assert await ask() == (503, b"draining\n")


async def test_a_process_whose_hub_does_not_start_is_not_ready_and_logs_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with runtimes.using(parts(Unreachable())) as made:
        assert await ask() == (503, b"not ready\n")
        await made.stop()
    assert "ConnectionError" in caplog.text


async def test_a_serving_process_answers_without_asking_the_hub(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ask())[0] == 200
    for name in ("log", "backplane", "presence"):
        monkeypatch.setattr(runtime, name, None)
    assert (await ask())[0] == 200
    monkeypatch.undo()
    assert wiring.service().runtime is runtime

"""manage.py holdfast serve: its configuration and what it refuses. tests/asgi_servers/test_serve.py runs it."""

import gc
import logging
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.core.management import CommandError, call_command
from django.test import override_settings

from holdfast import Presence, Topic, installation
from holdfast.application import load
from holdfast.management import serve
from holdfast.server.serving import open_files
from holdfast.server.serving.config import GC_THRESHOLDS
from holdfast.topics.registry import registry


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Restore Uvicorn's loggers, which its configuration changes. Other tests listen to them."""
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access")]
    before = [(logger, logger.propagate, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, propagate, level, handlers in before:
        logger.propagate, logger.level, logger.handlers = propagate, level, handlers


def options(**given: Any) -> dict[str, Any]:
    """Return the command's options, some of them replaced."""
    from argparse import ArgumentParser

    parser = ArgumentParser()
    serve.add_arguments(parser)
    return {**vars(parser.parse_args([])), **given}


def refuses(*arguments: str) -> str:
    with pytest.raises(CommandError) as refusal:
        call_command("holdfast", "serve", *arguments)
    return str(refusal.value)


@override_settings(HOLDFAST={"LOG": "memory"})
def test_several_workers_with_a_log_in_memory_are_refused() -> None:
    assert "each of the 2 workers would have its own log" in refuses("--workers", "2")


def test_several_workers_that_would_each_show_other_members_are_refused() -> None:
    made = type("Room", (Topic,), {"route": "rooms/<slug:room>", "presence": Presence()})
    with registry.override([made]):
        assert "Room: there is no Redis for presence" in refuses("--workers", "2")
        for chosen in ({"REDIS": "redis://localhost"}, {"PRESENCE": "memory"}):
            with override_settings(HOLDFAST=chosen):
                serve._check_between(2)
        with override_settings(HOLDFAST={"PRESENCE": "memory"}):
            assert 'PRESENCE is "memory"' in list(serve._between(2))[-1]
        serve._check_between(1)


def test_less_than_one_worker_is_refused() -> None:
    assert "--workers 0: expected at least 1" in refuses("--workers", "0")


def test_a_key_without_its_certificate_is_refused() -> None:
    assert "--ssl-keyfile needs --ssl-certfile" in refuses("--ssl-keyfile", "key.pem")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--port", "70000"), "--port 70000: expected 0 to 65535"),
        (("--port", "-1"), "--port -1: expected 0 to 65535"),
        (("--backlog", "0"), "--backlog 0: expected at least 1"),
        (("--limit-concurrency", "0"), "--limit-concurrency 0: expected at least 1"),
        (("--limit-max-requests", "0"), "--limit-max-requests 0: expected at least 1"),
        (("--ws-max-size", "0"), "--ws-max-size 0: expected at least 1"),
        (("--timeout-keep-alive", "-1"), "--timeout-keep-alive -1: expected at least 0"),
        (("--timeout-graceful-shutdown", "-1"), "--timeout-graceful-shutdown -1: expected at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: tuple[str, ...], expected: str) -> None:
    assert expected in refuses(*arguments)


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_starts(tmp_path: Path) -> None:
    nonsense = tmp_path / "cert.pem"
    nonsense.write_text("nonsense")
    for given in ("nowhere.pem", str(nonsense)):
        assert f"--ssl-certfile {given}" in refuses("--ssl-certfile", given)


def test_two_addresses_to_listen_on_are_refused() -> None:
    assert "exclude each other" in refuses("--uds", "s", "--fd", "3")


@override_settings(ASGI_APPLICATION="nowhere.application")
def test_an_application_that_cannot_be_loaded_is_named() -> None:
    assert "ASGI_APPLICATION = 'nowhere.application' cannot be loaded" in refuses()


def test_the_socket_of_a_running_server_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert "another server listens there" in refuses("--uds", str(path))
    assert path.exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    assert "no socket" in refuses("--uds", str(path))
    assert path.read_text() == "precious"


def test_the_defaults_are_made_for_many_connections_behind_a_proxy() -> None:
    config = serve._config(options())

    assert config.loop == "uvloop"
    assert (config.backlog, config.ws_ping_interval, config.access_log) == (4096, None, False)
    assert (config.proxy_headers, config.ws_per_message_deflate) == (True, False)
    assert config.ws_max_size == 1 << 20, "room for an answer to a message that is too large"


@override_settings(HOLDFAST={"MESSAGE_BYTES": 1 << 20})
def test_larger_messages_can_be_received_where_they_are_allowed() -> None:
    assert serve._config(options()).ws_max_size == 4 << 20


@pytest.mark.parametrize(
    ("given", "believed"),
    [
        ({}, uvicorn.Config("x", log_config=None).forwarded_allow_ips),
        ({"uds": "s"}, "*"),
        ({"uds": "s", "forwarded_allow_ips": "10.0.0.1"}, "10.0.0.1"),
    ],
)
def test_on_a_unix_socket_every_peer_is_a_trusted_proxy(given: dict[str, str], believed: str) -> None:
    assert serve._config(options(**given)).forwarded_allow_ips == believed


def test_the_projects_own_logging_of_uvicorn_is_kept() -> None:
    with override_settings(LOGGING={"version": 1, "loggers": {"uvicorn.error": {}}}):
        assert serve._config(options()).log_config is None
    assert serve._config(options()).log_config is not None


def test_loaded_objects_are_frozen_for_the_garbage_collector() -> None:
    before = gc.get_threshold()
    try:
        config = serve._config(options(log_level="error"))
        config.load()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == GC_THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        ({"CHANNEL_LAYERS": {}}, False),
        ({"CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}}, False),
        ({"CHANNEL_LAYERS": {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}}, False),
        ({"HOLDFAST": {"REDIS": "redis://localhost"}, "CHANNEL_LAYERS": {}}, False),
        ({"HOLDFAST": {"REDIS": "redis://localhost", "BACKPLANE": "memory"}, "CHANNEL_LAYERS": {}}, True),
        ({"HOLDFAST": {"BACKPLANE": "memory"}, "CHANNEL_LAYERS": {}}, True),
        ({"HOLDFAST": {"BACKPLANE": "memory"}, "CHANNEL_LAYERS": {"default": {"BACKEND": "x.Redis"}}}, True),
    ],
)
def test_several_workers_that_only_the_database_connects_get_a_warning(
    settings: dict[str, Any], alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "folder", lambda alias: Path("/tmp/holdfast-1000-0123456789abcdef"))
    with override_settings(**settings):
        assert bool(list(serve._between(2))) is alone
        assert not list(serve._between(1))


def test_the_limit_for_open_files_is_raised_to_the_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))

    first, second = open_files.raise_limit()

    assert raised == [(4096, 4096)]
    assert "the limit was 256 and is now 4096" in first
    assert "LimitNOFILE=" in second


def test_a_limit_that_is_high_enough_is_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    assert not list(open_files.raise_limit())


def test_without_a_setting_django_and_live_topics_are_served() -> None:
    assert callable(load())

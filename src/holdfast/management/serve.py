"""``manage.py holdfast serve``: Uvicorn with :mod:`holdfast.server`, set up for very many connections."""

import contextlib
import importlib.util
import signal
import socket
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from django.conf import settings as django_settings
from django.core.management.base import CommandError

from holdfast import __version__, conf, wiring
from holdfast.application import announced, largest_message, load, serves_static_files
from holdfast.server.limits import BODY_BYTES
from holdfast.server.server import Server
from holdfast.server.serving import open_files, systemd
from holdfast.server.serving.config import Config
from holdfast.server.serving.sockets import CannotListen, listening
from holdfast.topics.registry import registry

APPLICATION = "holdfast.application:load_to_serve"

BACKLOG = 4096
"""Connections that may wait to be accepted: after a deploy all clients reconnect at once."""

SHUTDOWN_SECONDS = 30
"""Seconds that running requests may take when the server stops."""

SUPERVISED_SECONDS = 5.0
"""Seconds beyond the most that a worker may take to stop, after which its supervisor kills it."""

LAST_PORT = 65535

AT_LEAST = {
    "workers": 1,
    "backlog": 1,
    "limit_concurrency": 1,
    "limit_max_requests": 1,
    "limit_request_body": 1,
    "ws_max_size": 1,
    "timeout_keep_alive": 0,
    "timeout_graceful_shutdown": 0,
}

Say = Callable[[str], object]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of Uvicorn that make sense here, under Uvicorn's names."""
    _add_addresses(parser.add_argument_group("where"))
    _add_processes(parser.add_argument_group("processes"))
    _add_connections(parser.add_argument_group("connections and messages"))
    _add_proxies_and_logs(parser.add_argument_group("proxies and logs"))
    _add_tls(parser.add_argument_group("TLS"))


def _add_addresses(group: Any) -> None:
    group.add_argument("--host", default="127.0.0.1", help="Address to listen on. Default: %(default)s")
    group.add_argument("--port", type=int, default=8000, help="Port to listen on. Default: %(default)s")
    group.add_argument("--uds", metavar="PATH", help="Listen on this UNIX socket instead.")
    group.add_argument("--fd", type=int, help="Listen on this open socket instead (systemd).")
    group.add_argument("--root-path", default="", help="The path under which a proxy serves this server.")


def _add_processes(group: Any) -> None:
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="Processes, about one per core, under a supervisor: SIGHUP replaces them one by one, and one that dies is "
        "replaced. Without the option: one process and no supervisor.",
    )
    group.add_argument(
        "--limit-max-requests", type=int, metavar="N", help="Replace a worker after this many requests."
    )
    group.add_argument(
        "--timeout-keep-alive", type=int, default=5, metavar="SECONDS", help="Idle HTTP. Default: %(default)s"
    )
    group.add_argument(
        "--timeout-graceful-shutdown",
        type=int,
        default=SHUTDOWN_SECONDS,
        metavar="SECONDS",
        help="How long running requests may take when the server stops. Default: %(default)s",
    )


def _add_connections(group: Any) -> None:
    group.add_argument(
        "--backlog", type=int, default=BACKLOG, help="Connections that may wait. Default: %(default)s"
    )
    group.add_argument(
        "--limit-concurrency",
        type=int,
        metavar="N",
        help="With more connections than this, HTTP requests get a 503.",
    )
    group.add_argument(
        "--limit-request-body",
        type=int,
        default=BODY_BYTES,
        metavar="BYTES",
        help="Larger HTTP requests get a 413. A proxy in front should have a lower limit. Default: %(default)s",
    )
    group.add_argument(
        "--ws-max-size", type=int, metavar="BYTES", help="The largest message. Default: at least 1 MiB"
    )
    group.add_argument(
        "--ws-per-message-deflate",
        action=BooleanOptionalAction,
        default=False,
        help="Compress messages of 512 bytes and more, once for all subscribers. Off by default: it costs CPU.",
    )


def _add_proxies_and_logs(group: Any) -> None:
    group.add_argument(
        "--proxy-headers",
        action=BooleanOptionalAction,
        default=True,
        help="Trust X-Forwarded-For and -Proto from the proxies in --forwarded-allow-ips. On by default.",
    )
    group.add_argument(
        "--forwarded-allow-ips",
        metavar="IPS",
        help="Proxies to trust, separated by commas, or '*'. Default: $FORWARDED_ALLOW_IPS, or 127.0.0.1; on a UNIX socket "
        "any peer that may open it.",
    )
    group.add_argument(
        "--access-log",
        action=BooleanOptionalAction,
        default=False,
        help="A line per request. Off by default.",
    )
    group.add_argument(
        "--log-level", choices=[*uvicorn.config.LOG_LEVELS], help="Of Uvicorn's own messages. Default: info"
    )


def _add_tls(group: Any) -> None:
    group.add_argument("--ssl-keyfile", metavar="PATH", help="The private key, in PEM format.")
    group.add_argument("--ssl-certfile", metavar="PATH", help="The certificate and its chain, in PEM format.")
    group.add_argument("--ssl-keyfile-password", metavar="PASSWORD", help="Decrypts the private key.")
    group.add_argument(
        "--ssl-ca-certs",
        metavar="PATH",
        help="Certificates of the authorities that may have signed client certificates.",
    )
    group.add_argument("--ssl-ciphers", default="TLSv1", help="In OpenSSL's notation. Default: %(default)s")


def serve(options: dict[str, Any], say: Say) -> None:
    """Serve until a signal comes. Raises ``CommandError`` for options that cannot work; exits with 3 if the server cannot
    start."""
    workers = options["workers"]
    drain_seconds = conf.settings().drain_seconds
    _check(options)
    # A mistake in it is reported once, here, and not by each worker that starts.
    application = load()
    say(f"Holdfast {__version__} {announced(application, options['root_path'])}\n")
    if serves_static_files():
        say(
            "DEBUG is on, so static files are served too, slowly. Switch DEBUG off in production, and let a proxy or "
            "WhiteNoise serve them.\n"
        )
    for line in (*open_files.raise_limit(), *_between(workers or 1)):
        say(f"{line}\n")
    # Before there is a server to be drained, SIGTERM must not leave the socket's file behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = _config(options)
    _check_certificate(config)
    server = Server(
        config,
        drain_seconds=drain_seconds,
        ready=lambda: systemd.ready("Serving"),
        stopping=systemd.stopping,
    )
    say(
        f"On SIGTERM the server drains its connections for up to {drain_seconds:g} s, and exits within "
        f"{server.seconds_at_most:g} s.\n"
    )
    try:
        with listening(config, options["fd"]) as sockets, contextlib.suppress(KeyboardInterrupt):
            if workers is None:
                server.run(sockets)
                status = 0 if server.started else uvicorn.config.STARTUP_FAILURE
            else:
                status = _supervised(config, sockets, workers, server)
    except CannotListen as error:
        raise CommandError(str(error)) from error
    if status:
        sys.exit(status)


def _supervised(
    config: uvicorn.Config, sockets: list[socket.socket] | None, workers: int, server: Server
) -> int:
    """Serve with that many workers, each configured like ``server``; return the exit status."""
    from holdfast.server.serving.supervisor import Supervisor  # cannot be imported on Windows

    return Supervisor(
        config,
        sockets or [config.bind_socket()],
        workers,
        drain_seconds=server.drain_seconds,
        leaving_seconds=server.seconds_at_most + SUPERVISED_SECONDS,
    ).run()


def _config(options: dict[str, Any]) -> Config:
    passed = {
        "host", "port", "uds", "root_path", "backlog", "limit_concurrency", "limit_max_requests", "limit_request_body",
        "timeout_keep_alive", "timeout_graceful_shutdown", "proxy_headers", "access_log", "log_level",
        "ws_per_message_deflate", "ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_ciphers",
    }  # fmt: skip
    believed = options["forwarded_allow_ips"]
    if believed is None and options["uds"]:
        believed = "*"  # a peer has no address there
    return Config(
        APPLICATION,
        factory=True,
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        forwarded_allow_ips=believed,
        ws_max_size=options["ws_max_size"] or largest_message(),
        ws_ping_interval=None,  # Holdfast's heartbeats do that, and without a timer for each connection
        server_header=False,
        use_colors=_colors(options),
        log_config=None if _logs_uvicorn_itself() else uvicorn.config.LOGGING_CONFIG,
        ws="holdfast.server:WebSocketProtocol",
        http="holdfast.server:HttpProtocol",
        **{name: options[name] for name in passed},
    )


def _colors(options: dict[str, Any]) -> bool | None:
    """Return what ``--force-color`` and ``--no-color`` of Django ask for; ``None``: colours on a terminal."""
    if options.get("force_color"):
        return True
    return False if options.get("no_color") else None


def _logs_uvicorn_itself() -> bool:
    """Does the project's ``LOGGING`` configure Uvicorn's loggers?"""
    loggers = getattr(django_settings, "LOGGING", {}).get("loggers", {})
    return any(name.partition(".")[0] == "uvicorn" for name in loggers)


def _check(options: dict[str, Any]) -> None:
    workers = options["workers"]
    for name, least in AT_LEAST.items():
        if options[name] is not None and options[name] < least:
            raise CommandError(f"{_option(name)} {options[name]}: expected at least {least}.")
    if not 0 <= options["port"] <= LAST_PORT:
        raise CommandError(f"--port {options['port']}: expected 0 to {LAST_PORT}.")
    if workers is not None and sys.platform == "win32":
        raise CommandError("--workers: on Windows there is only the one process that you get without it.")
    if options["uds"] and options["fd"] is not None:
        raise CommandError("--uds and --fd exclude each other.")
    if bool(options["ssl_keyfile"]) > bool(options["ssl_certfile"]):
        raise CommandError("--ssl-keyfile needs --ssl-certfile as well.")
    _check_between(workers or 1)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_certificate(config: uvicorn.Config) -> None:
    """Report a bad certificate once, instead of a traceback from each worker."""
    if not config.is_ssl:
        return
    try:
        uvicorn.config.create_ssl_context(
            certfile=config.ssl_certfile or "",
            keyfile=config.ssl_keyfile,
            password=config.ssl_keyfile_password,
            ssl_version=config.ssl_version,
            cert_reqs=config.ssl_cert_reqs,
            ca_certs=config.ssl_ca_certs,
            ciphers=config.ssl_ciphers,
        )
    except OSError as error:
        names = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_ciphers")
        given = ", ".join(f"{_option(name)} {value}" for name in names if (value := getattr(config, name)))
        raise CommandError(f"{given}: {error}. Expected files in PEM format that belong together.") from error


def _check_between(workers: int) -> None:
    """Refuse several workers with settings that keep state in one process."""
    chosen = conf.settings()
    if workers > 1 and chosen.log == "memory":
        raise CommandError(
            f'HOLDFAST["LOG"] is "memory", so each of the {workers} workers would have its own log, and '
            "clients would miss what other workers publish. Leave LOG out, which stores it in the database, or use --workers 1."
        )
    names = _with_presence()
    if workers > 1 and names and chosen.presence == "auto" and chosen.redis is None:
        raise CommandError(
            f"{' and '.join(names)}: there is no Redis for presence, so each of the {workers} workers would show only its "
            'own members. Set HOLDFAST["REDIS"], use --workers 1, or set "PRESENCE": "memory" if that is intended.'
        )


def _between(workers: int) -> Iterator[str]:
    """Yield warnings about workers that only the database connects."""
    if workers == 1:
        return
    chosen = conf.settings()
    if not wiring.reaches_other_processes(chosen):
        yield (
            f"Only the database connects the {workers} workers: durable events reach the clients of other workers up to "
            f"{chosen.reconcile_seconds:g} s late (RECONCILE_SECONDS), ephemeral ones not at all. Set REDIS in HOLDFAST, or "
            "CHANNEL_LAYERS to a layer on Redis, to deliver both at once."
        )
    if _with_presence() and wiring.presence_kind(chosen) == "memory":
        yield f'PRESENCE is "memory": each of the {workers} workers lists only the members that are connected to itself.'


def _with_presence() -> list[str]:
    return [topic.__qualname__ for topic in registry.topics() if topic.declared.presence is not None]

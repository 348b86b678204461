"""The peers that are measured: Holdfast in its forms, and others, each set up as its own documentation recommends."""

from bench.generator import Speech
from bench.servers import Peer

ROOM = "hall/open"
REFUSAL = '"type":"error"'
UVICORN = (
    "{python}",
    "-m",
    "uvicorn",
    "--port",
    "{port}",
    "--log-level",
    "warning",
    "--loop",
    "uvloop",
    "--backlog",
    "4096",
)
APPLICATION = "bench.hall.asgi:application"
#: The load generator answers a ping only if it comes alone, so the server must send none while there is traffic.
NO_PINGS = ("--ws-ping-interval", "600")


def topic(name: str) -> Speech:
    return Speech(
        path="/live/ws",
        says=(f'{{"type":"join","ref":0,"topic":"{name}"}}',),
        expects=2,
        publish=f'{{"type":"call","topic":"{name}","name":"say","payload":{{"body":"%b"}}}}',
        echo=f'{{"type":"call","ref":%n,"topic":"{name}","name":"echo","payload":{{"body":"%b"}}}}',
        refusal=REFUSAL,
    )


def rejoin(name: str) -> str:
    """The join of a client that was in the room before, with the position that load.c inserts."""
    return f'{{"type":"join","ref":0,"topic":"{name}","payload":{{"since":{{"epoch":"%e","offset":%o}}}}}}'


def _environment(**more: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "bench.hall.settings",
        "BENCH_DATABASE": "{directory}/hall.sqlite3",
        "BENCH_REDIS": "{redis}",
        **more,
    }


SERVE = ("{python}", "-m", "django", "holdfast", "serve", "--port", "{port}", "--log-level", "warning")


def _holdfast(key: str, name: str, command: tuple[str, ...], log: str) -> Peer:
    return Peer(
        key=key,
        name=name,
        command=command,
        environment=_environment(BENCH_LOG=log),
        speech=topic(ROOM),
        django=True,
    )


_CONSUMER = Speech(path="/ws/chat/lobby/", publish='{"body":"%b"}', echo='{"ref":%n,"echo":"%b"}')

HOLDFAST = _holdfast("holdfast", "Holdfast", SERVE, "memory")
HOLDFAST_SQLITE = _holdfast("holdfast-sqlite", "Holdfast, log in SQLite", SERVE, "database")
PORTABLE = _holdfast(
    "portable",
    "Holdfast on Uvicorn's own WebSockets",
    (*UVICORN, "--ws", "websockets-sansio", *NO_PINGS, APPLICATION),
    "memory",
)
FLOOR = Peer(
    key="floor",
    name="C, one write() each (the floor)",
    command=("{floor}", "{port}"),
    speech=Speech(path="/", expects=0, publish="%b"),
)
WS = Peer(
    key="ws",
    name="Node.js, ws",
    command=("node", "{peers}/ws.mjs", "{port}"),
    speech=Speech(path="/", publish='{"body":"%b"}', echo='{"ref":%n,"echo":"%b"}'),
    needs="node",
)
SOCKETIO = Peer(
    key="socketio",
    name="Socket.IO",
    command=("node", "{peers}/socketio.mjs", "{port}"),
    speech=Speech(
        path="/socket.io/?EIO=4&transport=websocket",
        says=("40",),
        expects=2,
        publish='42["say","%b"]',
        echo='42%n["echo","%b"]',
        ping="2",
        pong="3",
    ),
    needs="node",
)
CENTRIFUGO = Peer(
    key="centrifugo",
    name="Centrifugo",
    command=("{centrifugo}", "--config", "{directory}/config.json"),
    environment={"GOMAXPROCS": "1"},
    files={
        "config.json": """{
  "http_server": {"address": "127.0.0.1", "port": "{port}"},
  "log": {"level": "error"},
  "client": {"allowed_origins": ["*"], "allow_anonymous_connect_without_token": true},
  "channel": {"without_namespace": {
    "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
    "allow_publish_for_subscriber": true, "allow_publish_for_anonymous": true,
    "history_size": 1000, "history_ttl": "24h", "force_positioning": true, "force_recovery": true
  }}
}"""
    },
    speech=Speech(
        path="/connection/websocket",
        says=('{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"lobby"}}'),
        expects=2,
        publish='{"id":1%n,"publish":{"channel":"lobby","data":{"body":"%b"}}}',
        refusal='"error":{',
        ping="{}",
        pong="{}",
    ),
    needs="centrifugo",
)
CHANNELS = Peer(
    key="channels",
    name="Channels, pub/sub layer, Uvicorn",
    command=(*UVICORN, "--ws", "websockets-sansio", *NO_PINGS, APPLICATION),
    environment=_environment(BENCH_LAYER="channels_redis.pubsub.RedisPubSubChannelLayer"),
    speech=_CONSUMER,
    django=True,
    slow=True,
)
DAPHNE = Peer(
    key="daphne",
    name="Channels, core layer, Daphne",
    command=(
        "{python}",
        "-m",
        "daphne",
        "-b",
        "127.0.0.1",
        "-p",
        "{port}",
        "-v",
        "0",
        "--ping-interval",
        "600",
        "--websocket_connect_timeout",  # it refuses handshakes that wait longer, and here it is that busy
        "120",
        APPLICATION,
    ),
    environment=_environment(BENCH_LAYER="channels_redis.core.RedisChannelLayer"),
    speech=_CONSUMER,
    django=True,
    slow=True,
)

PEERS = (HOLDFAST, HOLDFAST_SQLITE, PORTABLE, FLOOR, WS, SOCKETIO, CENTRIFUGO, CHANNELS, DAPHNE)

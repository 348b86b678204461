"""A database and a Redis for one test, the messages that arrive at the Redis, and the processes that publish."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.services.postgres import PostgresServer
from tests.services.processes import Server, free_port, start
from tests.services.redis import RedisServer

from ..tables import ROOT, environment_for

FIRST = "publish/wsgi/first/"


class Place:
    """A database with the tables of the fleet's project, a Redis, and the messages that arrive there."""

    def __init__(self, dsn: str, postgres: PostgresServer, redis: RedisServer, directory: Path) -> None:
        self.dsn, self.redis, self.directory = dsn, redis, directory
        self.name = dsn.rpartition("/")[2].partition("?")[0]
        self.environment = environment_for(postgres.django(self.name)) | {"FLEET_REDIS": redis.url}
        self.news: list[bytes] = []
        self.arrivals: list[float] = []
        self._client = redis.client()
        pubsub = self._client.pubsub()
        pubsub.psubscribe("*rooms/*", "*tickers/*", "*!control*")
        self._listening = True

        def listen() -> None:
            while self._listening:
                message = pubsub.get_message(timeout=0.1)
                if message and message["type"] == "pmessage":
                    self.arrivals.append(time.monotonic())
                    self.news.append(message["data"])
            pubsub.close()

        self._listener = threading.Thread(target=listen)
        self._listener.start()

    def run(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], env=self.environment, check=True, cwd=ROOT, timeout=60)

    def start(self, name: str, *arguments: str) -> Server:
        return start(name, [sys.executable, *arguments], directory=self.directory, env=self.environment)

    def logged(self, room: str) -> Counter[str]:
        """Return the events in the log of a room, by value."""
        rows = self.ask(
            "SELECT e.payload FROM holdfast_entry e JOIN holdfast_topic t ON t.id = e.topic_id"
            " WHERE t.name = %s ORDER BY e.offset",
            f"rooms/{room}",
        )
        return Counter(json.loads(payload)["value"] for (payload,) in rows)

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement, values).fetchall()  # type: ignore[arg-type]

    def told(self, value: str) -> bool:
        """Return whether the message of an event reached Redis."""
        return any(json.dumps(value).encode() in message for message in self.news)

    def lateness(self, value: str) -> float:
        """Seconds from the publication of an event, which it carries as ``at``, to its arrival at Redis."""
        sought = re.compile(rb'"value":%s,"at":([0-9.]+)' % re.escape(json.dumps(value).encode()))
        for arrival, message in zip(self.arrivals, self.news, strict=False):
            if found := sought.search(message):
                return arrival - float(found[1])
        raise LookupError(f"{value} did not arrive")

    def end(self) -> None:
        self._listening = False
        self._listener.join()
        self._client.close()


def eventually(holds: Callable[[], bool], seconds: float = 40) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Gunicorn:
    """Two workers, with four threads each if no option says otherwise."""

    def __init__(self, place: Place, *options: str, module: str = "wsgi", first: str = FIRST) -> None:
        """``first`` is asked for until it is answered."""
        self._port, self._first = free_port(), first
        self.address = f"http://127.0.0.1:{self._port}"
        command = ["-m", "gunicorn", "--bind", f"127.0.0.1:{self._port}", "--workers", "2", "--threads", "4"]
        self.server = place.start("gunicorn", *command, *options, f"tests.fleet.publishing.{module}")
        self.server.wait_until(self._serves)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> str:
        request = urllib.request.Request(f"{self.address}/{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def status(self, path: str, body: bytes, **headers: str) -> int:
        """Return the status of a POST."""
        try:
            self.ask(path, body, **headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 204

    def stop(self) -> None:
        self.server.stop()

    def _serves(self) -> bool:
        try:
            return bool(self.ask(self._first))
        except OSError:
            return False

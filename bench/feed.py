"""A feed with and without a rate: thousands of ticks per second to a thousand subscribers.

    python -m bench.feed                                    5,000 ticks a second of 200 symbols, 1,000 subscribers
    python -m bench.feed --ticks 2000 --symbols 500 --members 500

One ``manage.py holdfast serve`` on core 0 publishes the ticks and serves the subscribers, which this program holds on core 1.
CPU is the server's, from ``/proc``. A delivery is one tick that one subscriber received. The age of a tick is measured by one
subscriber, from before it was published; with a rate it includes the time for which the tick waited.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import time
from typing import Any

from bench import lineup
from bench.machine import cpu_seconds, settle_in
from bench.servers import Served, served, surroundings
from tests.asgi_servers.client import masked

FEEDS = (("quotes", "no rate"), ("quotes10", "rate 10/s"), ("quotes2", "rate 2/s"))
EVENT = b'"type":"event"'
AT = re.compile(rb'"at":([0-9.]+)')
AT_ONCE = 50


class Subscriber(asyncio.Protocol):
    """Counts events by what marks them, and may note how old they are. Nothing is decoded."""

    def __init__(self, port: int, topic: str, *, timed: bool) -> None:
        self._hello = (
            f"GET /live/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()
        self._topic = topic
        self._timed = timed
        self._tail = b""
        self.transport: Any = None
        self.joined = asyncio.get_running_loop().create_future()
        self.result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost = False
        self.count = 0
        self.ages: list[float] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._hello)

    def say(self, **message: Any) -> None:
        self.transport.write(masked(json.dumps(message).encode()))

    def data_received(self, data: bytes) -> None:
        if self._hello:
            if b"101 Switching" not in data:
                self.joined.set_exception(ConnectionError(data[:200].decode(errors="replace")))
                return
            self._hello = b""
            self.say(type="join", ref=0, topic=self._topic)
        if not self.joined.done() and b'"type":"joined"' in data:
            self.joined.set_result(None)
        if not self.joined.done() and b'"type":"error"' in data:
            self.joined.set_exception(ConnectionRefusedError(data.decode(errors="replace")))
            return
        if b'"type":"result"' in data or b'"type":"error"' in data:
            self.result.set_result(data)
        data = self._tail + data
        self.count += data.count(EVENT)
        if self._timed:
            now = time.monotonic()
            self.ages += [now - float(at) for at in AT.findall(data)]
        self._tail = data[-len(EVENT) + 1 :] if not self._timed else b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def subscribe(port: int, topic: str, count: int) -> list[Subscriber]:
    loop = asyncio.get_running_loop()

    async def one(number: int) -> Subscriber:
        _, made = await loop.create_connection(
            lambda: Subscriber(port, topic, timed=number == 0), "127.0.0.1", port
        )
        await made.joined
        return made

    made: list[Subscriber] = []
    for start in range(0, count, AT_ONCE):
        made += await asyncio.gather(*(one(n) for n in range(start, min(start + AT_ONCE, count))))
    return made


async def measure(server: Served, kind: str, options: argparse.Namespace) -> dict[str, float]:
    topic = f"{kind}/feed"
    members = await subscribe(server.port, topic, options.members)
    (publisher,) = await subscribe(server.port, f"{kind}/control", 1)
    publisher.say(type="join", ref=1, topic=topic)
    await asyncio.sleep(1)
    used, begun = cpu_seconds(server.pid), time.monotonic()
    arguments = {"per_second": options.ticks, "symbols": options.symbols, "seconds": options.seconds}
    publisher.say(type="call", ref=2, topic=topic, name="run", payload=arguments)
    answer = await publisher.result
    found = re.search(rb'"payload":([0-9]+)', answer)
    if found is None:
        raise SystemExit(f"the feed did not run: {answer!r}")
    await asyncio.sleep(1.5)  # what waits for a rate arrives
    seconds = time.monotonic() - begun - 1.5
    used = cpu_seconds(server.pid) - used
    if any(member.lost for member in members):
        raise SystemExit("subscribers were lost")
    deliveries = sum(member.count for member in members)
    ages = sorted(members[0].ages)
    for member in (*members, publisher):
        member.transport.abort()
    return {
        "ticks": int(found[1]) / seconds,
        "seconds": seconds,
        "each": deliveries / len(members) / seconds,
        "cpu": used / seconds,
        "median": 1000 * ages[len(ages) // 2],
        "p99": 1000 * ages[int(0.99 * len(ages))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=5000, help="published per second (5,000)")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    settle_in()
    print(f"{options.ticks:,} ticks a second, {options.symbols} symbols, {options.members:,} subscribers")
    print("            published/s   received/s each   server CPU   for each tick   age median       p99")
    with surroundings(set()) as around:
        for kind, name in FEEDS:
            with served(lineup.HOLDFAST, around) as server:
                row = asyncio.run(measure(server, kind, options))
            print(
                f"{name:10} {row['ticks']:12,.0f} {row['each']:17,.0f} {row['cpu']:12.0%} "
                f"{1e6 * row['cpu'] / row['ticks']:12.0f} µs "
                f"{row['median']:9.0f} ms {row['p99']:6.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""One client of the crowd: joins topics, makes calls, and comes back with its positions whatever happens to it.

It does what PROTOCOL.md asks of a client, and records what it sees. It trusts no server: it records messages that arrive
twice or out of order as they came.
"""

import asyncio
import random
import time
import zlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from .records import (
    Answered,
    Asked,
    Closed,
    Finished,
    Got,
    Joined,
    Journal,
    Left,
    Opened,
    Presence,
    Refused,
    Reset,
)
from .socket import WebSocket, handshake

HANDSHAKE_SECONDS = 6.0
SILENCE_SECONDS = 9.0
"""Longest silence of a server that is pinged."""

RETRY_SECONDS = 0.7
HASTE_SECONDS = 0.05
"""Time within which a client drops its connection on purpose after a call, before or after the answer."""

HASTE = 0.2
"""Share of its calls after which it does."""

FINAL = frozenset({4401, 4403})
RESEND = frozenset({"unavailable", "rate_limited", "not_joined"})

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Way:
    """An address of a server; through nginx ``server`` is -1, and the answer names the server."""

    name: str
    port: int
    server: int = -1


@dataclass(kw_only=True)
class Character:
    """The kind of a client."""

    client: str
    user: str
    topics: list[str]
    slow: bool = False
    hasty: bool = False
    """Whether it drops its connection after some of its calls, so that it has to send them again."""
    guest: bool = False
    """Whether it leaves for good when it first loses its connection."""
    msgpack: bool = False
    carrier: str = "websocket"
    """Its transport: ``websocket``, ``stream`` or ``polling``; or ``node-…`` for the browser client in Node."""
    calls_per_second: float = 0.0


@dataclass(kw_only=True)
class Place:
    """A topic as this client knows it."""

    joined: bool = False
    epoch: str | None = None
    offset: int | None = None
    retry_at: float = 0.0
    asking: int | None = None


@dataclass(kw_only=True)
class Call:
    topic: str
    action: str
    value: str
    sent_on: int = 0
    ref: int = 0
    retry_at: float = 0.0


@dataclass(kw_only=True)
class State:
    """The state that outlasts a connection."""

    places: dict[str, Place]
    pending: dict[str, Call] = field(default_factory=dict)
    link: int = 0
    attempts: int = 0
    cookie: str = ""
    user_id: str = ""
    came: int = 0


class Client:
    def __init__(
        self, character: Character, ways: list[Way], upstreams: dict[str, int], journal: Journal
    ) -> None:
        self.character = character
        self._ways = ways
        self._upstreams = upstreams
        self._journal = journal
        self._chance = random.Random(character.client)
        self.state = State(places={topic: Place() for topic in character.topics})
        self._socket: WebSocket | None = None
        self._over: asyncio.Future[None] | None = None
        self._welcome: asyncio.Future[None] | None = None
        self._ref = 0
        self._heard_at = self._pinged_at = 0.0
        self._pause = 0.0
        self._reading = True
        self._server, self._via = -1, ""
        self.hushed = False
        self.heads: dict[str, int] = {}

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        while not self.gone:
            try:
                await self._one_connection()
            except (OSError, TimeoutError):
                pass
            self.state.attempts += 1
            cap = min(2.0, 0.1 * 2**self.state.attempts)
            pause, self._pause = self._pause or self._chance.uniform(0.02, cap), 0.0
            await asyncio.sleep(pause)

    async def _one_connection(self) -> None:
        way = self._chance.choice(self._ways)
        if not self.state.cookie:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                self.state.cookie = await self._sign_in(way)
        loop = asyncio.get_running_loop()
        self._over, self._welcome = loop.create_future(), loop.create_future()
        self._server, self._via, self._reading = way.server, way.name, True
        protocol = "holdfast.v1.msgpack" if self.character.msgpack else "holdfast.v1.json"
        head = handshake(f"127.0.0.1:{way.port}", "/live/ws", self.state.cookie, protocol)
        socket = WebSocket(head, opened=self._shaken, heard=self._receive, ended=self._ended)
        self._socket = socket
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await loop.create_connection(lambda: socket, "127.0.0.1", way.port)
                await self._welcome
            self.state.attempts = 0
            await self._speak()
        except TimeoutError:
            socket.give_up("no welcome")
        except asyncio.CancelledError:
            socket.give_up("the run is over")
            raise
        finally:
            for place in self.state.places.values():
                place.joined, place.asking = False, None
            self._socket = None

    async def _sign_in(self, way: Way) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        query = f"user={quote(self.character.user)}&client={quote(self.character.client)}"
        writer.write(
            f"GET /login/?{query} HTTP/1.1\r\nHost: 127.0.0.1:{way.port}\r\nConnection: close\r\n\r\n".encode()
        )
        head = (await reader.read(65536)).decode("latin-1")
        writer.close()
        for line in head.split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "set-cookie" and value.strip().startswith("sessionid="):
                return value.partition(";")[0].strip()
        raise ConnectionError(f"no cookie: {head[:60]!r}")

    async def _speak(self) -> None:
        """Work until the connection ends: join missing topics, resend unanswered calls, watch, and make calls."""
        assert self._over is not None
        next_call = self._next_call()
        next_turn = time.monotonic() + self._chance.uniform(1, 4)
        while not self._over.done():
            now = time.monotonic()
            self._join_all(now)
            self._send_calls(now)
            if now >= next_call and not self.hushed:
                self._make_call()
                next_call = self._next_call()
            if self.character.slow and now >= next_turn:
                next_turn = now + self._take_turns()
            self._watch(now)
            await asyncio.wait([self._over], timeout=0.25)

    def _next_call(self) -> float:
        rate = self.character.calls_per_second
        return time.monotonic() + self._chance.expovariate(rate) if rate else float("inf")

    def _take_turns(self) -> float:
        """Read for a moment, then not for some seconds; how long this lasts."""
        assert self._socket is not None
        if self.heads or not self._reading:
            self._reading = True
            self._socket.read_on()
            self._heard_at = time.monotonic()
            return self._chance.uniform(0.3, 1.5)
        self._reading = False
        self._socket.stop_reading()
        return self._chance.uniform(1, 6)

    def _watch(self, now: float) -> None:
        assert self._socket is not None
        if now - self._pinged_at > 1.5:
            self._pinged_at = now
            self._send({"type": "ping"})
        if self._reading and now - self._heard_at > SILENCE_SECONDS:
            self._socket.give_up("the server was silent")

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: Message) -> None:
        if self._socket is not None:
            binary = self.character.msgpack
            data = msgspec.msgpack.encode(message) if binary else msgspec.json.encode(message)
            self._socket.send(data, binary=binary)

    def _join_all(self, now: float) -> None:
        for topic, place in self.state.places.items():
            if place.joined or place.asking is not None or now < place.retry_at:
                continue
            self._ref += 1
            place.asking = self._ref
            since = None if place.epoch is None else {"epoch": place.epoch, "offset": place.offset}
            payload = {"since": since} if since else {}
            self._send({"type": "join", "ref": self._ref, "topic": topic, "payload": payload})

    def _make_call(self) -> None:
        rooms = [topic for topic, place in self.state.places.items() if place.joined and place.epoch]
        if not rooms or len(self.state.pending) >= 5:
            return
        number = self.state.came = self.state.came + 1
        action = self._chance.choices(["post", "post_to_others", "shout"], [5, 2, 2])[0]
        key = f"{self.character.client}-{number}"
        call = Call(
            topic=self._chance.choice(rooms), action=action, value=f"{self.character.client}:{number}"
        )
        self.state.pending[key] = call

    def _send_calls(self, now: float) -> None:
        for key, call in self.state.pending.items():
            if (
                call.sent_on == self.state.link
                or now < call.retry_at
                or not self.state.places[call.topic].joined
            ):
                continue
            self._ref += 1
            call.sent_on, call.ref = self.state.link, self._ref
            arguments: Message = {"value": call.value}
            if call.action != "shout":
                arguments["pad"] = self._chance.choice([0, 0, 200, 2000])
            asked = Asked(
                at=time.monotonic(), client=self.character.client, link=self.state.link, topic=call.topic,
                action=call.action, key=key, value=call.value,
            )  # fmt: skip
            self._journal.gather(asked)
            self._send(
                {"type": "call", "ref": self._ref, "topic": call.topic, "name": call.action, "key": key,
                 "payload": arguments}
            )  # fmt: skip
            if self.character.hasty and not self.hushed and self._chance.random() < HASTE:
                self._lose_connection_within(HASTE_SECONDS)

    def _lose_connection_within(self, seconds: float) -> None:
        assert self._socket is not None
        later = self._chance.uniform(0, seconds)
        asyncio.get_running_loop().call_later(later, self._socket.give_up, "it was in haste")

    # ── what is received ─────────────────────────────────────────────────────────────────────────────────────────────

    def _shaken(self, headers: dict[str, str]) -> None:
        if self._server < 0:
            last_tried = headers.get("x-upstream", "").rpartition(",")[2].strip()
            self._server = self._upstreams.get(last_tried, -1)
        self._heard_at = time.monotonic()
        self._send({"type": "hello", "payload": {"client": self.character.client}})

    def _ended(self, code: int, why: str) -> None:
        if code in FINAL:
            self.state.cookie = ""
            self._pause = RETRY_SECONDS
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(ConnectionError(why))
            self._welcome.exception()
        elif self.state.link:
            self._journal.gather(
                Closed(
                    at=time.monotonic(),
                    client=self.character.client,
                    link=self.state.link,
                    code=code,
                    why=why,
                )
            )
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _receive(self, data: bytes) -> None:
        now = self._heard_at = time.monotonic()
        message = msgspec.msgpack.decode(data) if self.character.msgpack else msgspec.json.decode(data)
        payload = message.get("payload") or {}
        at = {"at": now, "client": self.character.client, "link": self.state.link}
        match message["type"]:
            case "event":
                self._event(message, payload, data, at)
            case "welcome":
                self._welcomed(payload, now)
            case "joined":
                self._has_joined(message, payload, at)
            case "presence":
                members, joined, left = (_names(payload.get(part)) for part in ("members", "joined", "left"))
                record = Presence(
                    topic=message["topic"], joined=joined or [], left=left or [], members=members, **at
                )
                self._journal.gather(record)
            case "reset":
                self._reset(message, payload, at)
            case "left":
                self._left(message, payload, at)
            case "result" | "error":
                self._answer(message, payload, at)
            case "goodbye":
                after = payload.get("after")
                self._pause = min(after, 2.0) if after else 0.0
            case _:
                pass

    def _welcomed(self, payload: Message, now: float) -> None:
        self.state.link += 1
        self.state.user_id = payload["user"] or ""
        self._journal.gather(
            Opened(
                at=now, client=self.character.client, link=self.state.link, user=self.state.user_id,
                server=self._server, via=self._via,
            )
        )  # fmt: skip
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_result(None)
        if not self.state.user_id:
            self.state.cookie = ""  # signed out: this connection gets no more answers
            self._pause = RETRY_SECONDS
            if self._socket is not None:
                self._socket.give_up("not signed in")

    def _has_joined(self, message: Message, payload: Message, at: dict[str, Any]) -> None:
        place = self.state.places[message["topic"]]
        place.joined, place.asking = True, None
        record = Joined(
            topic=message["topic"], since=place.offset, epoch=payload.get("epoch"), offset=payload.get("offset"),
            recovered=payload.get("recovered"), members=_names(payload.get("members")), **at,
        )  # fmt: skip
        self._journal.gather(record)
        if record.offset is not None and not (place.epoch is not None and record.recovered):
            place.offset = record.offset
        place.epoch = record.epoch

    def _event(self, message: Message, payload: Message, data: bytes, at: dict[str, Any]) -> None:
        offset, topic = message.get("offset"), message["topic"]
        check = zlib.crc32(msgspec.json.encode(payload))
        self._journal.gather(
            Got(topic=topic, name=message["name"], value=payload["value"], check=check, offset=offset, **at)
        )
        place = self.state.places[topic]
        if offset is not None and offset > (place.offset or 0):
            place.offset = offset

    def _reset(self, message: Message, payload: Message, at: dict[str, Any]) -> None:
        self._journal.gather(
            Reset(topic=message["topic"], reason=payload["reason"], offset=payload.get("offset"), **at)
        )
        if payload.get("offset") is not None:
            place = self.state.places[message["topic"]]
            place.epoch, place.offset = payload["epoch"], payload["offset"]

    def _left(self, message: Message, payload: Message, at: dict[str, Any]) -> None:
        place = self.state.places[message["topic"]]
        place.joined, place.retry_at = False, time.monotonic() + RETRY_SECONDS
        self._journal.gather(Left(topic=message["topic"], code=payload.get("code", ""), **at))

    def _answer(self, message: Message, payload: Any, at: dict[str, Any]) -> None:
        ref, failed = message.get("ref"), message["type"] == "error"
        code = payload.get("code", "") if failed else ""
        for topic, place in self.state.places.items():
            if place.asking == ref:
                place.asking, place.retry_at = None, time.monotonic() + RETRY_SECONDS
                self._journal.gather(Refused(topic=topic, code=code, **at))
                return
        for key, call in self.state.pending.items():
            if call.ref == ref and call.sent_on == self.state.link:
                value = "" if failed else str(message["payload"])
                self._journal.gather(Answered(key=key, value=value, code=code, **at))
                if code in RESEND:
                    call.sent_on, call.retry_at = 0, time.monotonic() + RETRY_SECONDS
                else:
                    del self.state.pending[key]
                return

    @property
    def gone(self) -> bool:
        """Whether it was a guest that has left for good."""
        return self.character.guest and self.state.link > 0 and self._socket is None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def missing(self) -> list[str]:
        """The topics that the client has not joined, or of which it has yet to get the last event."""
        if self.gone:
            return []
        return [
            topic
            for topic, place in self.state.places.items()
            if not place.joined or (place.offset or 0) < self.heads.get(topic, 0)
        ]

    def finish(self) -> None:
        """Write down how it ended, unless it has left."""
        if self.gone:
            return
        pending = [f"{call.action} {key}" for key, call in self.state.pending.items()]
        self._journal.gather(
            Finished(at=time.monotonic(), client=self.character.client, missing=self.missing, pending=pending)
        )


def _names(members: Any) -> list[str] | None:
    """The users of a list of members, as text."""
    if members is None:
        return None
    return [str(member["id"]) if isinstance(member, dict) else str(member) for member in members]

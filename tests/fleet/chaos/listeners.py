"""Clients of the crowd without a WebSocket: one reads an event stream as a browser's ``EventSource`` does, one polls.

They share no code with Holdfast's clients. They know no positions: they give back the last ``id`` (PROTOCOL.md, section 6), and
what they hear is judged as that of any other client.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

import msgspec

from tests.transports.event_stream import EventStreamReader

from .client import HANDSHAKE_SECONDS, RETRY_SECONDS, SILENCE_SECONDS, Client, Message, Way
from .http import Answer, get
from .records import Closed

SIGNED_OUT = frozenset({401, 403})


class HttpClient(Client):
    """The common part of the two clients."""

    last = ""
    """The last ``id`` that the server gave."""
    _open = False
    _again_at = float("inf")
    """Time to ask again, because a topic was refused or has ended."""

    def _query(self, **more: str) -> str:
        client, topics = self.character.client, list(self.state.places)
        return urlencode([("client", client), *[("topic", topic) for topic in topics], *more.items()])

    @property
    def _headers(self) -> dict[str, str]:
        return {"Cookie": self.state.cookie}

    async def _choose_way(self) -> Way:
        way = self._chance.choice(self._ways)
        if not self.state.cookie:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                self.state.cookie = await self._sign_in(way)
        self._server, self._via = way.server, way.name
        return way

    def _take(self, message: Message) -> None:
        """Handle a message as one over a WebSocket."""
        if message["type"] == "welcome":
            self._close(1006, "a new one was begun")
            self._open, self._again_at = True, float("inf")
            for ref, place in enumerate(self.state.places.values(), 1):
                place.joined, place.asking = False, ref
        self._receive(msgspec.json.encode(message))
        ended = message["type"] == "left" or (message["type"] == "error" and "ref" in message)
        if ended:
            self._again_at = time.monotonic() + RETRY_SECONDS

    def _close(self, code: int, why: str) -> None:
        for place in self.state.places.values():
            place.joined, place.asking = False, None
        if self._open:
            self._open = False
            client, link = self.character.client, self.state.link
            self._journal.gather(Closed(at=time.monotonic(), client=client, link=link, code=code, why=why))

    def _refused(self, answer: Answer) -> None:
        if answer.status in SIGNED_OUT:
            self.state.cookie = ""
        self._pause = RETRY_SECONDS


class StreamClient(HttpClient):
    """Reads an event stream, and comes back with the last ``id``."""

    async def _one_connection(self) -> None:
        way = await self._choose_way()
        self._again_at = float("inf")  # each stream asks for all topics
        headers = self._headers | ({"Last-Event-ID": self.last} if self.last else {})
        opening = get(way.port, f"/live/sse?{self._query()}", headers)
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            answer = await opening.__aenter__()
        try:
            if answer.status != 200:
                self._refused(answer)
                return
            self._shaken(answer.headers)
            self.state.attempts = 0
            await self._read(answer)
        finally:
            self._close(1006, "the stream has ended")
            await opening.__aexit__(None, None, None)

    async def _read(self, answer: Answer) -> None:
        reader, body = EventStreamReader(last_id=self.last, _id=self.last), answer.body()
        while time.monotonic() < self._again_at:
            silent_at = time.monotonic() + SILENCE_SECONDS
            left = min(silent_at, self._again_at) - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    data = await anext(body)
            except (StopAsyncIteration, TimeoutError):
                return
            reader.feed(data)
            messages, reader.messages = reader.messages, []
            for last, text in messages:
                self.last = last
                self._take(msgspec.json.decode(text))
                if not self.state.cookie:
                    return  # signed out
            if reader.retry is not None:
                self._pause = reader.retry / 1000


class PollingClient(HttpClient):
    """Polls, and repeats a poll whose answer was lost."""

    _session: dict[str, str] | None = None

    async def _one_connection(self) -> None:
        way = await self._choose_way()
        while True:
            if time.monotonic() >= self._again_at:
                self._session, self._again_at = None, float("inf")
            if not await self._poll(way):
                return

    async def _poll(self, way: Way) -> bool:
        """Poll once. Return whether to go on at once."""
        more = dict(self._session or {}) | ({"last-event-id": self.last} if self.last else {})
        seconds = max(0.1, min(SILENCE_SECONDS, self._again_at - time.monotonic()))
        async with (
            asyncio.timeout(seconds),
            get(way.port, f"/live/poll?{self._query(**more)}", self._headers) as answer,
        ):
            if answer.status == 409:
                return True  # another poll of this session took its place: its answer is the one that counts
            if answer.status != 200:
                self._session = None
                self._close(1006, f"a poll was answered with {answer.status}")
                self._refused(answer)
                return False
            content: dict[str, Any] = msgspec.json.decode(b"".join([data async for data in answer.body()]))
        self._upstream(answer)
        self.state.attempts = 0
        self._session = {"session": content["session"], "ack": str(content["ack"])}
        self.last = content["last"]
        for message in content["messages"]:
            self._take(message)
            if message["type"] == "goodbye" or not self.state.cookie:
                self._session = None
                self._close(1006, message["type"])
                return False
        return True

    def _upstream(self, answer: Answer) -> None:
        if "x-upstream" in answer.headers:
            last_tried = answer.headers["x-upstream"].rpartition(",")[2].strip()
            self._server = self._upstreams.get(last_tried, -1)

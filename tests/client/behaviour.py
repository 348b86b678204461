"""Plays the scenarios of ``conformance/behaviour`` on the Python client, in simulated time."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from holdfast.client import ClientError, RemoteEvent, RemoteLive, RemoteTopic
from holdfast.client.backoff import Backoff
from holdfast.protocol.positions import Position

from .fake_server import FakeServer, FakeSocket
from .simulated_time import SimulatedLoop, settle

FOLDER = Path(__file__).resolve().parents[2] / "conformance" / "behaviour"

LIMITS = {"message_bytes": 65536, "topics": 100, "calls": 32}

Step = dict[str, Any]
Scenario = dict[str, Any]


def scenarios() -> list[Scenario]:
    files = sorted(path for path in FOLDER.glob("*.json") if path.name != "beginnings.json")
    return [scenario for path in files for scenario in json.loads(path.read_text())]


def play(scenario: Scenario) -> None:
    """Play a scenario. Raises ``AssertionError`` with the step at which the client did something else."""
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(Stage(scenario, loop).play())
    finally:
        loop.run_until_complete(end_all())
        loop.close()


async def end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Stage:
    """One running scenario: a client, a server and a clock that the test controls."""

    def __init__(self, scenario: Scenario, loop: SimulatedLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.server = FakeServer()
        self.tokens = list(scenario.get("tokens", []))
        backoff = scenario.get("backoff", {"base": 1.0, "cap": 30.0})
        chance = scenario.get("chance", 0.5)
        self.live = RemoteLive(
            "ws://server/live/ws",
            token=self._next_token if self.tokens else scenario.get("token"),
            client="a" * 32,
            backoff=Backoff(lambda: chance, **backoff),
            chance=lambda: chance,
            open_socket=self.server.open_socket,
        )
        self.working: set[asyncio.Task[None]] = set()
        self.entering: asyncio.Task[None]
        self.topics: dict[str, RemoteTopic] = {}
        self.told: dict[str, list[Any]] = {}
        self.answers: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.looked: dict[FakeSocket, int] = {}
        self.attempts = self.pings = 0
        self.entered = False
        self.closing = False

    async def play(self) -> None:
        beginnings = json.loads((FOLDER / "beginnings.json").read_text())
        for step in [*beginnings.get(self.scenario.get("begin"), []), *self.scenario["steps"]]:
            await settle()
            try:
                await self._step(step)
            except AssertionError as error:
                raise AssertionError(f"{step}\n{error}") from None
        await settle()
        self._nothing_is_left()
        await self._close()
        for _ in range(60):
            await settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks that are left: {left}"

    def _nothing_is_left(self) -> None:
        assert self._sent([]) == [], "messages that no step expects"
        assert {topic: told for topic, told in self.told.items() if told} == {}, "events that no step expects"
        assert self.answers == {}, "answers that no step expects"

    async def _close(self) -> None:
        self.closing = True
        if self.entered:
            self.entering.cancel()
            await self.live.__aexit__(None, None, None)

    def _working(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.working.add(task)
        task.add_done_callback(self.working.discard)

    async def _step(self, step: Step) -> None:
        kind, value = next(iter(step.items()))
        topic = step.get("topic", "rooms/lobby")
        match kind:
            case "join":
                self._working(self._join(value, step.get("since")))
            case "leave":
                await self.live.leave(value)
            case "call":
                self._working(self._call(step))
            case "refresh":
                self._working(self._note(step["as"], self.live.refresh(value)))
            case "close":
                await self._close()
            case "open":
                self.server.socket.open()
            case "welcome":
                self.server.socket.open()
                await settle()
                payload = {"session": "s1", "user": "7", "heartbeat": 25, "limits": LIMITS, **value}
                self._say({"type": "welcome", "payload": payload})
            case "say":
                self._say(self._bound(value, None))
            case "say_text":
                self.server.socket.say_text(value)
            case "drop":
                self.server.socket.drop(value)
            case "refuse":
                self.server.socket.refuse(value, step.get("headers", {}))
            case "pass":
                await self.loop.advance(value)
            case _:
                self._must_be(kind, value, topic)

    def _must_be(self, kind: str, value: Any, topic: str) -> None:
        found = self.topics.get(topic)
        match kind:
            case "sent":
                sent = self._sent([message["type"] for message in value])
                _equal(sent, self._bound(value, sent))
            case "events":
                told = self.told.setdefault(topic, [])
                taken = told[:]
                told.clear()
                _equal(taken, value)
            case "answers":
                answers, self.answers = self.answers, {}
                _equal(answers, value)
            case "attempts":
                before, self.attempts = self.attempts, len(self.server.sockets)
                _equal(self.attempts - before, value)
            case "pings":
                before, self.pings = (
                    self.pings,
                    sum(
                        message["type"] == "ping" for socket in self.server.sockets for message in socket.sent
                    ),
                )
                _equal(self.pings - before, value)
            case "over":
                error = self.live.error
                _equal(error.code if error else None, value)
            case "position":
                position = self.live.protocol.position(topic)
                _equal(None if position is None else _plain(position), value)
            case "snapshot":
                _equal(found and found.snapshot, value)
            case "members":
                members = found and found.members
                _equal(sorted(members) if members is not None else found and found.member_count, value)
            case _:
                raise ValueError(f"there is no such step: {kind}")

    # ── the application ──────────────────────────────────────────────────────────────────────────────────────────────

    def _next_token(self) -> str:
        token = self.tokens.pop(0) if self.tokens else None
        if token is None:
            raise LookupError("no token now")
        return token

    async def _enter(self) -> None:
        try:
            await self.live.__aenter__()
        except ClientError:
            self.entered = False

    async def _join(self, name: str, since: dict[str, Any] | None) -> None:
        if not self.entered:
            self.entered = True
            self.entering = asyncio.create_task(self._enter())
            await asyncio.sleep(0)
        told = self.told.setdefault(name, [])
        try:
            topic = await self.live.join(name, since=None if since is None else Position(**since))
            self.topics[name] = topic
            async for item in topic:
                told.append(item.payload if isinstance(item, RemoteEvent) else {"gap": item.reason})
        except ClientError as error:
            if self.live.error is None and not self.closing and error.code != "closed":
                told.append({"ended": error.code})

    async def _call(self, step: Step) -> None:
        name, topic = step["call"], step.get("topic", "rooms/lobby")
        found = self.topics.get(topic)
        options = {"key": step.get("key"), "timeout": step.get("timeout")}
        if found is not None:
            call = found.call(name, **options, **step.get("payload", {}))
        else:  # the join has no answer yet
            call = self.live.call(topic, name, **options, arguments=step.get("payload", {}))
        await self._note(step["as"], call)

    async def _note(self, name: str, answer: Coroutine[Any, Any, Any]) -> None:
        try:
            self.answers[name] = {"result": await answer}
        except ClientError as error:
            if not self.closing:
                details = {"reason": error.reason, "errors": error.errors}
                self.answers[name] = {
                    "error": error.code,
                    **{key: text for key, text in details.items() if text},
                }

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, message: Any) -> None:
        self.server.socket.say_text(json.dumps(message))

    def _sent(self, named: list[str]) -> list[dict[str, Any]]:
        """Return what the client has sent since the last look: its hello only where the step names one, and no pings, which are counted.
        An empty payload is as good as none."""
        sent: list[dict[str, Any]] = []
        for socket in self.server.sockets:
            sent += socket.sent[self.looked.get(socket, 0) :]
            self.looked[socket] = len(socket.sent)
        return [
            {key: value for key, value in message.items() if key != "payload" or value}
            for message in sent
            if message["type"] != "ping" and (message["type"] != "hello" or "hello" in named)
        ]

    def _bound(self, expected: Any, sent: Any) -> Any:
        """Return what is expected with its variables in place. One that is not known yet takes its value from what was sent."""
        if isinstance(expected, str) and expected.startswith("$"):
            return self.variables.setdefault(expected, sent)
        if isinstance(expected, list):
            found = sent if isinstance(sent, list) else []
            return [
                self._bound(item, found[at] if at < len(found) else None) for at, item in enumerate(expected)
            ]
        if isinstance(expected, dict):
            known = sent if isinstance(sent, dict) else {}
            return {key: self._bound(item, known.get(key)) for key, item in expected.items()}
        return expected


def _plain(position: Position) -> dict[str, Any]:
    plain = {"epoch": position.epoch, "offset": position.offset}
    return {**plain, "stamp": position.stamp} if position.stamp else plain


def _equal(found: Any, expected: Any) -> None:
    assert found == expected, f"found    {found}\nexpected {expected}"

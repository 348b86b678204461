"""Property tests: any frames in any order, late decisions, and a close at any time."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.protocol import codes
from holdfast.protocol.effects import Admit, Authenticate, Effect, Hangup, Perform, Release, Send
from holdfast.protocol.frames import ErrorPayload, JoinedPayload, PongFrame
from holdfast.protocol.server_protocol import Phase

from .driver import JSON, Driver

ME = "notes/me"
NAMES = st.sampled_from(["a", "b", ME, "notes/7", "nowhere"])
CANONICAL = {ME: "notes/7"}
TOPICS, CALLS = 3, 2


class ProtocolMachine(RuleBasedStateMachine):
    """A client that sends anything, and a driver that decides late."""

    def __init__(self) -> None:
        super().__init__()
        self.duplex = True
        self.refs = 0
        self.due: set[int] = set()  # references that have no answer yet
        # Those that need none: the protocol may not have been able to read them.
        self.excused: set[int] = set()
        self.frames: list[dict[str, Any]] = []
        self.joins: list[Admit] = []
        self.calls: list[Perform] = []
        self.tokens: list[Authenticate] = []
        self.subscribed: set[str] = set()
        self.hung_up = False

    @initialize(user=st.sampled_from([None, "7"]), burst=st.sampled_from([5.0, 1000.0]))
    def connect(self, user: str | None, burst: float) -> None:
        self.driver = Driver(user=user, duplex=self.duplex, topics=TOPICS, calls=CALLS, burst=burst)
        self.protocol = self.driver.protocol

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.hung_up, f"{effect} after the end"
            match effect:
                case Send():
                    self.check_frame(json.loads(JSON.encode(effect.frame)))
                case Admit():
                    self.joins.append(effect)
                case Perform():
                    assert self.protocol.canonical(effect.topic) in self.subscribed
                    self.calls.append(effect)
                    assert len(self.calls) <= CALLS
                case Authenticate():
                    self.tokens.append(effect)
                case Release():
                    self.subscribed.discard(effect.topic)
                case Hangup():
                    assert self.frames[-1]["type"] == "goodbye"
                    self.hung_up = True

    def check_frame(self, frame: dict[str, Any]) -> None:
        kind, ref = frame["type"], frame.get("ref")
        if kind != "goodbye":
            assert (kind == "welcome") == (not self.frames), "the welcome comes first, and once"
        assert not self.frames or self.frames[-1]["type"] != "goodbye", "nothing comes after goodbye"
        if ref is not None:
            assert ref in self.due | self.excused, f"{frame} answers nothing, or something twice"
            self.due.discard(ref)
            self.excused.discard(ref)
        if kind == "left":
            assert frame["topic"] not in self.subscribed, "released first, so that nothing comes after left"
        self.frames.append(frame)

    def say(self, message: dict[str, Any] | str | bytes) -> None:
        if isinstance(message, dict) and isinstance(message.get("ref"), int) and not self.hung_up:
            self.due.add(message["ref"])
        data = json.dumps(message) if isinstance(message, dict) else message
        self.carry_out(self.protocol.receive(data, self.driver.now))

    def ref(self) -> int:
        self.refs += 1
        return self.refs

    # ── the client ────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(token=st.sampled_from([None, "t"]))
    def hello(self, token: str | None) -> None:
        self.say({"type": "hello", "payload": {"token": token}})

    @rule(topic=NAMES)
    def join(self, topic: str) -> None:
        self.say({"type": "join", "ref": self.ref(), "topic": topic})

    @rule(topic=NAMES)
    def leave(self, topic: str) -> None:
        self.say({"type": "leave", "ref": self.ref(), "topic": topic})

    @rule(topic=NAMES, answered=st.booleans())
    def call(self, topic: str, answered: bool) -> None:
        ref = {"ref": self.ref()} if answered else {}
        self.say({"type": "call", "topic": topic, "name": "post", **ref})

    @rule()
    def refresh(self) -> None:
        self.say({"type": "refresh", "ref": self.ref(), "payload": {"token": "t"}})

    @rule()
    def ping(self) -> None:
        self.say({"type": "ping"})

    @rule(
        message=st.one_of(
            st.binary(max_size=20), st.text(max_size=20), st.sampled_from(["[" * 9000, "x" * 70000])
        )
    )
    def noise(self, message: str | bytes) -> None:
        self.say(message)

    @rule(
        kind=st.sampled_from(["join", "leave", "call", "refresh", "hello", "nonsense", None, 3]),
        fields=st.dictionaries(
            st.sampled_from(["topic", "name", "key", "payload", "token"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: st.dictionaries(
                    st.sampled_from(["since", "client", "token"]), inner, max_size=2
                ),
                max_leaves=4,
            ),
        ),
    )
    def wrong_shape(self, kind: Any, fields: dict[str, Any]) -> None:
        ref = self.ref()
        self.say({"type": kind, "ref": ref, **fields})
        if ref in self.due and (kind == "hello" or not isinstance(kind, str)):
            self.due.discard(ref)  # no request, or nothing that can be read
            self.excused.add(ref)

    @rule(seconds=st.sampled_from([0.1, 10.0, 60.0, 63.0]))
    def time_passes(self, seconds: float) -> None:
        self.driver.now += seconds
        effects = self.protocol.check(self.driver.now)
        if not self.duplex:
            assert effects in ([], [Send(PongFrame())]), (
                "only keepalives, whether the client is silent or not"
            )
        self.carry_out(effects)

    # ── the driver, late ──────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.joins)
    @rule(data=st.data(), verdict=st.sampled_from(["in", "in", "forbidden", "unavailable"]))
    def decide(self, data: st.DataObject, verdict: str) -> None:
        effect = data.draw(st.sampled_from(self.joins))
        self.joins.remove(effect)
        asked = effect.topic
        canonical = CANONICAL.get(asked, asked)
        if verdict != "in":
            code = codes.FORBIDDEN if verdict == "forbidden" else codes.UNAVAILABLE
            self.carry_out(self.protocol.refused(effect.ref, asked, code))
        elif not self.protocol.admitted(asked, canonical):
            self.carry_out(self.protocol.refused(effect.ref, asked, codes.ALREADY_JOINED))
        else:
            effects = self.protocol.joined(effect.ref, asked, canonical, JoinedPayload())
            assert canonical not in self.subscribed
            self.carry_out(effects)
            if self.protocol.has_joined(asked):
                self.subscribed.add(canonical)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), well=st.booleans())
    def answer(self, data: st.DataObject, well: bool) -> None:
        effect = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if well:
            self.carry_out(self.protocol.performed(effect.ref, b"1"))
        else:
            payload = ErrorPayload(code="internal", message="")
            self.carry_out(self.protocol.failed(effect.ref, effect.topic, payload))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), user=st.sampled_from([None, "7", "8"]))
    def authenticate(self, data: st.DataObject, user: str | None) -> None:
        effect = self.tokens.pop(data.draw(st.integers(0, len(self.tokens) - 1)))
        if user is None:
            self.carry_out(self.protocol.not_authenticated(effect.ref))
        else:
            self.carry_out(self.protocol.authenticated(user, effect.ref))

    @precondition(lambda self: self.subscribed)
    @rule(data=st.data())
    def expel(self, data: st.DataObject) -> None:
        topic = data.draw(st.sampled_from(sorted(self.subscribed)))
        self.carry_out(self.protocol.expelled(topic, codes.FORBIDDEN))
        assert self.hung_up or topic not in self.subscribed

    @rule()
    def hang_up(self) -> None:
        self.carry_out(self.protocol.hang_up(codes.DRAINING))

    # ── what always holds ─────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def within_its_limits(self) -> None:
        if hasattr(self, "protocol"):
            assert len(self.subscribed) + len(self.joins) <= TOPICS or self.hung_up

    def teardown(self) -> None:
        """Once everything is decided, every message has its answer."""
        if not hasattr(self, "protocol"):
            return
        while self.tokens or self.joins or self.calls:
            for token in [self.tokens.pop() for _ in range(len(self.tokens))]:
                self.carry_out(self.protocol.authenticated(self.protocol.user or "7", token.ref))
            for join in [self.joins.pop() for _ in range(len(self.joins))]:
                self.carry_out(self.protocol.refused(join.ref, join.topic, codes.FORBIDDEN))
            for call in [self.calls.pop() for _ in range(len(self.calls))]:
                self.carry_out(self.protocol.performed(call.ref, b"1"))
        if not self.hung_up:
            assert self.protocol.phase in (Phase.OPEN, Phase.FRESH)
            assert not self.due, f"no answer to {self.due}"


class OneWayMachine(ProtocolMachine):
    """A client whose transport brings no messages. It begins with ``start``; its messages come by other requests."""

    def __init__(self) -> None:
        super().__init__()
        self.duplex = False

    @initialize(
        user=st.sampled_from([None, "7"]),
        burst=st.sampled_from([5.0, 1000.0]),
        hello=st.sampled_from([None, {}, {"client": "c1"}, {"token": "t"}]),
        topics=st.lists(NAMES, max_size=5),
    )
    def connect(
        self, user: str | None, burst: float, hello: dict[str, str] | None, topics: list[str]
    ) -> None:
        super().connect(user, burst)
        joins = [{"type": "join", "ref": self.ref(), "topic": topic} for topic in topics]
        self.due |= {join["ref"] for join in joins}
        frames: list[Any] = [JSON.decode(json.dumps(join)) for join in joins]
        greeting: Any = None
        if hello is not None:
            greeting = JSON.decode(json.dumps({"type": "hello", "payload": hello}))
        self.carry_out(self.protocol.start(greeting, frames))


TestProtocolMachine = ProtocolMachine.TestCase
TestProtocolMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

TestOneWayMachine = OneWayMachine.TestCase
TestOneWayMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

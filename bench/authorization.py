"""Benchmark of the authorization of a call while the answers of its rules are kept.

python -m bench.authorization

It measures the CPU time that a call takes between the check of its arguments and its action: is the membership's last
answer young enough, are the permissions of the action kept, has a revocation come. No rule is asked.
"""

import statistics
import time
from typing import Any

from holdfast import Topic, action
from holdfast.auth.base import Identity
from holdfast.connections.authorization import may_call_now
from holdfast.connections.caller import ConnectionCaller
from holdfast.connections.joined_topic import JoinedTopic
from holdfast.connections.request import CallRequest


class Visitor:
    """A user with the attributes that authorization reads."""

    is_authenticated = True
    pk = 7


CALLS = 100_000
ROUNDS = 7
KEPT_SECONDS = 1.0


class Room(Topic):
    route = "rooms/<slug:room>"
    requires = "auth.view_user"

    @action
    def look(self, caller: Any) -> None: ...

    @action(requires="auth.change_user")
    def post(self, caller: Any) -> None: ...


def decide(joined: JoinedTopic, caller: ConnectionCaller, name: str, now: float) -> bool | None:
    """Make the decisions of a connection and its calls for one call."""
    called = joined.topic.declared.actions[name]
    request = CallRequest(
        topic=joined.topic,
        caller=caller,
        action=called,
        arguments={},
        key=None,
        recheck=now - joined.checked >= KEPT_SECONDS,
        joined=joined,
        permitted=joined.permits(called, caller.identity, now - KEPT_SECONDS),
    )
    request.check_revoked()
    return may_call_now(
        request.topic, caller, called, recheck=request.rechecks, permitted=request.permitted_now
    )


def microseconds(name: str) -> float:
    topic = Room(room="lobby")
    identity = Identity(user=Visitor())
    caller = ConnectionCaller(identity=identity, client="c", connection_id="s")
    subscription: Any = None
    joined = JoinedTopic(topic, subscription, checked=10.0)
    joined.permit(topic.declared.actions["post"], identity, 10.0)
    if not decide(joined, caller, name, 10.5):
        raise SystemExit(f"{name}: the kept answer is not a yes")
    begun = time.process_time()
    for _ in range(CALLS):
        decide(joined, caller, name, 10.5)
    return (time.process_time() - begun) / CALLS * 1e6


def main() -> None:
    for name, what in (("look", "an action without requires"), ("post", "an action with requires")):
        taken = statistics.median(microseconds(name) for _ in range(ROUNDS))
        print(f"{what:28} {taken:.2f} µs")


if __name__ == "__main__":
    main()

"""Holdfast: live features for Django that hold.

Public names of the package, and the map of its layers. Imports point down only, which `scripts/check layers` holds. A
module below the roof never imports `holdfast` itself, as that would point up. Each package's docstring says more.

    roof          what Django expects by name (apps, models, admin, management/, migrations/, templatetags/), settings and
                  system checks, the ASGI application, testing/, and pad/ (shared documents, an app of its own); `wiring` builds
                  every object, once per process
    server        Uvicorn protocols that write prepared frames straight to the socket; server/serving: the processes
    transports    a WebSocket of any ASGI server, readiness, refusals: thin shells around a connection
    connections   one connection's life: drives its protocol machine, asks topics, subscribes to the hub; revocation
    auth          who a client is: the authenticator interface, sessions, tokens, and the origins that may connect
    topics        what users write against: Topic, Event, Keep, action, and the registry of routes
    runtime       one process's parts, put together
    control       commands that revoke access in every process
    hub           opens, joins and closes streams; publishes
    roster        who is present in a topic, as one hub knows it
    streams       subscriptions of a topic; encodes once, keeps order, repairs gaps
    threads       how the event loop runs blocking code and handlers
    log | presence | backplane | limits
                  events, members, messages between processes, rates: one interface each (`base.py`), one module per
                  technology; the four never import each other
    redis, process
                  clients of Redis; what a process does when it forks and when it ends
    protocol      frames, codes, codec, positions, and the server's side of the protocol as a state machine: no clock,
                  no socket, no task, no Django
    metrics       counters and gauges that any layer may raise: the ground

Names are imported on first use, so that `import holdfast` needs no configured Django, and `settings.py` may do it. A name that
another module has (`public_names`) is an `ImportError` that says which.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.auth.base import Identity
    from holdfast.protocol.positions import Position
    from holdfast.streams.slow import Slow
    from holdfast.threads.handler_context import HandlerInfo
    from holdfast.topics.access import adisconnect, arecheck, disconnect, recheck
    from holdfast.topics.action import action
    from holdfast.topics.anyone import anyone
    from holdfast.topics.batch import apublish, publish
    from holdfast.topics.caller import Caller
    from holdfast.topics.client_id import client_id
    from holdfast.topics.event import Event
    from holdfast.topics.handover import aflush, flush
    from holdfast.topics.html import Html
    from holdfast.topics.keep import Keep
    from holdfast.topics.presence import Member, Presence
    from holdfast.topics.refuse import Refuse
    from holdfast.topics.topic import Topic

__version__ = "0.1.0.dev0"

#: Public name: the module that defines it. What stands here stands in `__all__` and under TYPE_CHECKING too.
_DEFINED_IN: dict[str, str] = {
    "Caller": "holdfast.topics.caller",
    "Event": "holdfast.topics.event",
    "HandlerInfo": "holdfast.threads.handler_context",
    "Html": "holdfast.topics.html",
    "Identity": "holdfast.auth.base",
    "Keep": "holdfast.topics.keep",
    "Member": "holdfast.topics.presence",
    "Position": "holdfast.protocol.positions",
    "Presence": "holdfast.topics.presence",
    "Refuse": "holdfast.topics.refuse",
    "Slow": "holdfast.streams.slow",
    "Topic": "holdfast.topics.topic",
    "action": "holdfast.topics.action",
    "adisconnect": "holdfast.topics.access",
    "aflush": "holdfast.topics.handover",
    "anyone": "holdfast.topics.anyone",
    "apublish": "holdfast.topics.batch",
    "arecheck": "holdfast.topics.access",
    "client_id": "holdfast.topics.client_id",
    "disconnect": "holdfast.topics.access",
    "flush": "holdfast.topics.handover",
    "publish": "holdfast.topics.batch",
    "recheck": "holdfast.topics.access",
}

__all__ = [
    "Caller",
    "Event",
    "HandlerInfo",
    "Html",
    "Identity",
    "Keep",
    "Member",
    "Position",
    "Presence",
    "Refuse",
    "Slow",
    "Topic",
    "__version__",
    "action",
    "adisconnect",
    "aflush",
    "anyone",
    "apublish",
    "arecheck",
    "client_id",
    "disconnect",
    "flush",
    "publish",
    "recheck",
]


if not TYPE_CHECKING:  # type checkers would take it for a module that has every name

    def __getattr__(name: str) -> Any:
        if name not in _DEFINED_IN:
            raise import_module("holdfast.public_names").not_in(__name__, name)
        value = globals()[name] = getattr(import_module(_DEFINED_IN[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

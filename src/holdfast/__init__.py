"""Holdfast: live features for Django that hold.

This module is what users import from, and the map of the house. Imports point down only, which
`scripts/check layers` holds; a module below the roof never imports `holdfast` itself, as that would point up.

    roof          apps conf backends checks models admin urls asgi signals wiring, management/ migrations/ templatetags/
                  testing/: what Django expects under these names; `wiring` builds every object, once per process
    server        a WebSocket server for Uvicorn that writes prepared frames straight to the transport
    transports    WebSocket, server-sent events, polling: thin shells around a connection
    connections   one connection's life: drives its session, speaks to topics and the hub
    auth          who a client is: the authenticator interface, sessions, tokens, and the origins that may connect
    topics        what users write against: Topic, Event, Keep, action, and the registry of routes
    runtime       one process's parts, put together
    control       commands that revoke access in every process
    hub           opens, joins and closes streams; publishes
    roster        who is present in a topic, as one hub knows it
    streams       subscriptions of a topic; encodes once, keeps order, repairs gaps
    threads       how the event loop runs blocking code and handlers
    log | presence | backplane | limits
                  memory, who is here, between processes, how often: one interface each (`base.py`), one module
                  per technology; the four never import each other
    protocol      frames, codes, codec, positions, and the server's side of the protocol as a state machine: the
                  ground; no clock, no socket, no task, no Django

Names are imported on first use, so that `import holdfast` needs no configured Django, and `settings.py` may do it.
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
    from holdfast.topics.batch import apublish, publish
    from holdfast.topics.caller import Caller
    from holdfast.topics.event import Event
    from holdfast.topics.handover import aflush, flush
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
    "apublish": "holdfast.topics.batch",
    "arecheck": "holdfast.topics.access",
    "disconnect": "holdfast.topics.access",
    "flush": "holdfast.topics.handover",
    "publish": "holdfast.topics.batch",
    "recheck": "holdfast.topics.access",
}

__all__ = [
    "Caller",
    "Event",
    "HandlerInfo",
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
    "apublish",
    "arecheck",
    "disconnect",
    "flush",
    "publish",
    "recheck",
]


def __getattr__(name: str) -> Any:
    try:
        module = _DEFINED_IN[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The catalogue of everything that can go wrong between a client and a server.

Every error reply and every close carries one of these codes. The texts are written for the developer who reads a browser
console; they never contain what happened inside the server. ``scripts/generate`` makes ``client/src/codes.ts`` from this file.

Close codes follow RFC 6455 section 7.4.2, which leaves 4000-4999 to applications. Here the range says what to do:

- ``4000``-``4399``: reconnect (with backoff, from the remembered positions);
- ``4400``-``4499``: final, do not reconnect automatically.
"""

from types import MappingProxyType
from typing import Final

import msgspec

SUBPROTOCOLS: Final = ("holdfast.v1.json", "holdfast.v1.msgpack")


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue.

    ``close`` is the WebSocket close code; ``None`` for a code that never ends a connection.
    ``retry`` says whether the same message may succeed later unchanged (for a close: whether to reconnect).
    """

    name: str
    message: str
    retry: bool = False
    close: int | None = None


_catalogue: dict[str, Code] = {}


def _code(name: str, message: str, *, retry: bool = False, close: int | None = None) -> Code:
    code = _catalogue[name] = Code(name=name, message=message, retry=retry, close=close)
    return code


# ── invalid messages ──────────────────────────────────────────────────────────────────────────────────────────────────
MALFORMED: Final = _code("malformed", "The message is not valid in the negotiated encoding.")
INVALID_MESSAGE: Final = _code(
    "invalid_message", "The message does not have the shape that its type requires."
)
UNKNOWN_TYPE: Final = _code("unknown_type", "The message's type is not part of this version of the protocol.")
TOO_LARGE: Final = _code("too_large", "The message is larger than this server accepts.")
UNEXPECTED_HELLO: Final = _code("unexpected_hello", "A hello is only allowed as the first message.")

# ── refused joins, ended subscriptions ────────────────────────────────────────────────────────────────────────────────
FORBIDDEN: Final = _code("forbidden", "There is no such topic, or you may not use it.")
ALREADY_JOINED: Final = _code("already_joined", "This connection has already joined the topic.")
EVICTED: Final = _code("evicted", "The application has ended this subscription.")
OUTDATED: Final = _code(
    "outdated", "The client knows only versions of the topic's events that are gone; load the page again."
)
NOT_JOINED: Final = _code("not_joined", "Join the topic first.")
TOO_MANY_TOPICS: Final = _code("too_many_topics", "This connection has joined as many topics as it may.")

# ── failed calls ──────────────────────────────────────────────────────────────────────────────────────────────────────
UNKNOWN_ACTION: Final = _code("unknown_action", "The topic has no action of this name.")
INVALID_PAYLOAD: Final = _code("invalid_payload", "The payload does not fit the action.")
REFUSED: Final = _code("refused", "The application refused the call.")
NOT_FOUND: Final = _code("not_found", "What the call is about does not exist.")
KEY_REUSED: Final = _code("key_reused", "This key was used before, for a different call.")
OUTCOME_UNKNOWN: Final = _code(
    "outcome_unknown", "An earlier attempt with this key was interrupted; it may have been carried out."
)
TIMEOUT: Final = _code("timeout", "The call took longer than it may.")
TOO_MANY_CALLS: Final = _code(
    "too_many_calls", "Too many calls of this connection are still running.", retry=True
)
RATE_LIMITED: Final = _code("rate_limited", "Too many messages; try again later.", retry=True)
CSRF_FAILED: Final = _code(
    "csrf_failed", "A request with a session's cookie needs Django's CSRF token in its X-CSRFToken header."
)
INVALID_TOKEN: Final = _code("invalid_token", "The token is not valid.")
INTERNAL: Final = _code("internal", "The server failed to handle the message.")
UNAVAILABLE: Final = _code(
    "unavailable", "The server cannot do this at the moment; try again.", retry=True, close=4051
)

# ── closes after which clients reconnect ──────────────────────────────────────────────────────────────────────────────
DRAINING: Final = _code("draining", "The server is going away; reconnect.", retry=True, close=4000)
HEARTBEAT_MISSED: Final = _code("heartbeat_missed", "Nothing was heard for too long.", retry=True, close=4001)
STALLED: Final = _code("stalled", "The client did not read for too long.", retry=True, close=4002)
TOO_SLOW: Final = _code("too_slow", "A message took too long.", retry=True, close=4003)
TOKEN_EXPIRED: Final = _code(
    "token_expired", "The token has expired; reconnect with a newer one.", retry=True, close=4041
)
FLOODING: Final = _code("flooding", "The client sent far more than it may.", retry=True, close=4029)
TOO_MANY_CONNECTIONS: Final = _code(
    "too_many_connections", "This user has as many connections as one may have.", retry=True, close=4030
)
FAILED: Final = _code("failed", "The connection failed inside the server.", retry=True, close=4050)

# ── final closes ──────────────────────────────────────────────────────────────────────────────────────────────────────
UNSUPPORTED_PROTOCOL: Final = _code(
    "unsupported_protocol", f"Unknown subprotocol; known: {', '.join(SUBPROTOCOLS)}.", close=4400
)
UNAUTHENTICATED: Final = _code(
    "unauthenticated", "The credentials are missing or no longer valid.", close=4401
)
DISCONNECTED: Final = _code("disconnected", "The server ended this connection.", close=4403)
ORIGIN_REFUSED: Final = _code(
    "origin_refused",
    "This server takes no connections from pages of this origin; its log says more.",
    close=4406,
)

CATALOGUE: Final = MappingProxyType(_catalogue)

// Generated from src/holdfast/protocol/codes.py by scripts/generate: edit that file, not this one.

/** The encoding that this client speaks. */
export const SUBPROTOCOL = "holdfast.v1.json";

/** Everything that can go wrong between a client and a server. */
export type CodeName =
  | "malformed"
  | "invalid_message"
  | "unknown_type"
  | "too_large"
  | "unexpected_hello"
  | "forbidden"
  | "already_joined"
  | "evicted"
  | "outdated"
  | "not_joined"
  | "too_many_topics"
  | "unknown_action"
  | "invalid_payload"
  | "refused"
  | "not_found"
  | "key_reused"
  | "outcome_unknown"
  | "timeout"
  | "too_many_calls"
  | "rate_limited"
  | "csrf_failed"
  | "invalid_token"
  | "internal"
  | "unavailable"
  | "draining"
  | "heartbeat_missed"
  | "stalled"
  | "too_slow"
  | "token_expired"
  | "flooding"
  | "too_many_connections"
  | "failed"
  | "unsupported_protocol"
  | "unauthenticated"
  | "disconnected"
  | "origin_refused";

/** The codes that a server closes with, by the WebSocket close code. */
export const CLOSE_CODES: Readonly<Record<number, CodeName>> = {
  4051: "unavailable",
  4000: "draining",
  4001: "heartbeat_missed",
  4002: "stalled",
  4003: "too_slow",
  4041: "token_expired",
  4029: "flooding",
  4030: "too_many_connections",
  4050: "failed",
  4400: "unsupported_protocol",
  4401: "unauthenticated",
  4403: "disconnected",
  4406: "origin_refused",
};

/** The codes whose message may succeed later unchanged (for a close: after reconnecting). */
export const RETRIED: readonly string[] = ["too_many_calls", "rate_limited", "unavailable", "draining", "heartbeat_missed", "stalled", "too_slow", "token_expired", "flooding", "too_many_connections", "failed"];

/** What each code means. Only the entry `texts` has these sentences. */
export const MESSAGES: Readonly<Record<CodeName, string>> = {
  malformed: "The message is not valid in the negotiated encoding.",
  invalid_message: "The message does not have the shape that its type requires.",
  unknown_type: "The message's type is not part of this version of the protocol.",
  too_large: "The message is larger than this server accepts.",
  unexpected_hello: "A hello is only allowed as the first message.",
  forbidden: "There is no such topic, or you may not use it.",
  already_joined: "This connection has already joined the topic.",
  evicted: "The application has ended this subscription.",
  outdated: "The client knows only versions of the topic's events that are gone; load the page again.",
  not_joined: "Join the topic first.",
  too_many_topics: "This connection has joined as many topics as it may.",
  unknown_action: "The topic has no action of this name.",
  invalid_payload: "The payload does not fit the action.",
  refused: "The application refused the call.",
  not_found: "What the call is about does not exist.",
  key_reused: "This key was used before, for a different call.",
  outcome_unknown: "An earlier attempt with this key was interrupted; it may have been carried out.",
  timeout: "The call took longer than it may.",
  too_many_calls: "Too many calls of this connection are still running.",
  rate_limited: "Too many messages; try again later.",
  csrf_failed: "A request with a session's cookie needs Django's CSRF token in its X-CSRFToken header.",
  invalid_token: "The token is not valid.",
  internal: "The server failed to handle the message.",
  unavailable: "The server cannot do this at the moment; try again.",
  draining: "The server is going away; reconnect.",
  heartbeat_missed: "Nothing was heard for too long.",
  stalled: "The client did not read for too long.",
  too_slow: "A message took too long.",
  token_expired: "The token has expired; reconnect with a newer one.",
  flooding: "The client sent far more than it may.",
  too_many_connections: "This user has as many connections as one may have.",
  failed: "The connection failed inside the server.",
  unsupported_protocol: "Unknown subprotocol; known: holdfast.v1.json, holdfast.v1.msgpack.",
  unauthenticated: "The credentials are missing or no longer valid.",
  disconnected: "The server ended this connection.",
  origin_refused: "This server takes no connections from pages of this origin; its log says more.",
};

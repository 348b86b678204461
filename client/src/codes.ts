// Generated from src/holdfast/protocol/codes.py by scripts/generate: edit that file, not this one.

export const SUBPROTOCOLS = ["holdfast.v1.json", "holdfast.v1.msgpack"] as const;

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
  | "not_joined"
  | "too_many_topics"
  | "unknown_action"
  | "invalid_payload"
  | "refused"
  | "key_reused"
  | "outcome_unknown"
  | "timeout"
  | "too_many_calls"
  | "rate_limited"
  | "invalid_token"
  | "internal"
  | "unavailable"
  | "draining"
  | "heartbeat_missed"
  | "stalled"
  | "flooding"
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
  4029: "flooding",
  4050: "failed",
  4400: "unsupported_protocol",
  4401: "unauthenticated",
  4403: "disconnected",
  4406: "origin_refused",
};

/** The codes whose message may succeed later unchanged (for a close: after reconnecting). */
export const RETRIED: readonly string[] = ["too_many_calls", "rate_limited", "unavailable", "draining", "heartbeat_missed", "stalled", "flooding", "failed"];

/** Messages of the codes that reach the client without one: those it finds by itself, and those of a close. */
export const MESSAGES: Readonly<Record<string, string>> = {
  malformed: "The message is not valid in the negotiated encoding.",
  too_large: "The message is larger than this server accepts.",
  timeout: "The call took longer than it may.",
  unavailable: "The server cannot do this at the moment; try again.",
  draining: "The server is going away; reconnect.",
  heartbeat_missed: "Nothing was heard for too long.",
  stalled: "The client did not read for too long.",
  flooding: "The client sent far more than it may.",
  failed: "The connection failed inside the server.",
  unsupported_protocol: "Unknown subprotocol; known: holdfast.v1.json, holdfast.v1.msgpack.",
  unauthenticated: "The credentials are missing or no longer valid.",
  disconnected: "The server ended this connection.",
  origin_refused: "This server takes no connections from pages of this origin; its log says more.",
};

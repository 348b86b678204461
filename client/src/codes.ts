// Generated from src/holdfast/protocol/codes.py by scripts/generate: edit that file, not this one.

/** One entry of the catalogue. `close` is its WebSocket close code, or null for an answer to a message. */
export interface Code {
  readonly message: string;
  /** Whether the same message may succeed later unchanged (for a close: whether to reconnect). */
  readonly retry: boolean;
  readonly close: number | null;
}

export const SUBPROTOCOLS = ["holdfast.v1.json", "holdfast.v1.msgpack"] as const;

/** Everything that can go wrong between a client and a server. */
export const CODES: Readonly<Record<CodeName, Code>> = {
  malformed: { message: "The message is not valid in the negotiated encoding.", retry: false, close: null },
  invalid_message: { message: "The message does not have the shape that its type requires.", retry: false, close: null },
  unknown_type: { message: "The message's type is not part of this version of the protocol.", retry: false, close: null },
  too_large: { message: "The message is larger than this server accepts.", retry: false, close: null },
  unexpected_hello: { message: "A hello is only allowed as the first message.", retry: false, close: null },
  forbidden: { message: "There is no such topic, or you may not use it.", retry: false, close: null },
  already_joined: { message: "This connection has already joined the topic.", retry: false, close: null },
  evicted: { message: "The application has ended this subscription.", retry: false, close: null },
  not_joined: { message: "Join the topic first.", retry: false, close: null },
  too_many_topics: { message: "This connection has joined as many topics as it may.", retry: false, close: null },
  unknown_action: { message: "The topic has no action of this name.", retry: false, close: null },
  invalid_payload: { message: "The payload does not fit the action.", retry: false, close: null },
  refused: { message: "The application refused the call.", retry: false, close: null },
  not_found: { message: "What the call is about does not exist.", retry: false, close: null },
  key_reused: { message: "This key was used before, for a different call.", retry: false, close: null },
  outcome_unknown: { message: "An earlier attempt with this key was interrupted; it may have been carried out.", retry: false, close: null },
  timeout: { message: "The call took longer than it may.", retry: false, close: null },
  too_many_calls: { message: "Too many calls of this connection are still running.", retry: true, close: null },
  rate_limited: { message: "Too many messages; try again later.", retry: true, close: null },
  invalid_token: { message: "The token is not valid.", retry: false, close: null },
  internal: { message: "The server failed to handle the message.", retry: false, close: null },
  unavailable: { message: "The server cannot do this at the moment; try again.", retry: true, close: 4051 },
  draining: { message: "The server is going away; reconnect.", retry: true, close: 4000 },
  heartbeat_missed: { message: "Nothing was heard for too long.", retry: true, close: 4001 },
  stalled: { message: "The client did not read for too long.", retry: true, close: 4002 },
  flooding: { message: "The client sent far more than it may.", retry: true, close: 4029 },
  failed: { message: "The connection failed inside the server.", retry: true, close: 4050 },
  unsupported_protocol: { message: "Unknown subprotocol; known: holdfast.v1.json, holdfast.v1.msgpack.", retry: false, close: 4400 },
  unauthenticated: { message: "The credentials are missing or no longer valid.", retry: false, close: 4401 },
  disconnected: { message: "The server ended this connection.", retry: false, close: 4403 },
  origin_refused: { message: "This server takes no connections from pages of this origin; its log says more.", retry: false, close: 4406 },
};

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
  | "not_found"
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

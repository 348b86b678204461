/* Holdfast, BSD-3-Clause. Built from client/ */

/// <reference lib="esnext.disposable" />

/** Everything that can go wrong between a client and a server. */
export type CodeName = "malformed" | "invalid_message" | "unknown_type" | "too_large" | "unexpected_hello" | "forbidden" | "already_joined" | "evicted" | "outdated" | "not_joined" | "too_many_topics" | "unknown_action" | "invalid_payload" | "refused" | "not_found" | "key_reused" | "outcome_unknown" | "timeout" | "too_many_calls" | "rate_limited" | "csrf_failed" | "invalid_token" | "internal" | "unavailable" | "draining" | "heartbeat_missed" | "stalled" | "too_slow" | "token_expired" | "flooding" | "too_many_connections" | "failed" | "unsupported_protocol" | "unauthenticated" | "disconnected" | "origin_refused";
/** Codes of errors that the client itself finds; all others come from the server's catalogue. */
export type LocalCode = "closed" | "connection_lost" | "connect_timeout" | "invalid_url" | "left" | "no_websocket" | "queue_full" | "user_changed";
/** `timeout` may come from the server or the client. A newer server may send a code that is not in the list. */
export type ErrorCode = CodeName | LocalCode;
/** What an error means: its own message where that says more than the code, else the sentence for the code. */
export declare function textOf({ code, message }: {
	readonly code: ErrorCode;
	readonly message: string;
}): string;

export {};

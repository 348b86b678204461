import { positive } from "./clock.js";
import { RETRIED, type CodeName } from "./codes.js";
import type { ErrorPayload } from "./frames.js";

/** What the client itself finds; everything else comes from the server's catalogue. */
export type LocalCode =
  | "closed"
  | "connection_lost"
  | "connect_timeout"
  | "invalid_url"
  | "left"
  | "no_websocket"
  | "queue_full"
  | "user_changed";

/** `timeout` may be the server's word or the client's. A newer server may send a code that is not in the list. */
export type ErrorCode = CodeName | LocalCode;

export interface LiveErrorDetails {
  readonly retryAfter?: number | undefined;
  readonly reason?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Why a call, a join or a connection failed. Decide by `code`. `message` is for developers: the server's sentence where it
 * sent one, else the words of the code; `textOf` of the entry `texts` has a sentence for each code.
 */
export class LiveError extends Error {
  override readonly name = "LiveError";
  readonly code: ErrorCode;
  /** Whether the same attempt may succeed later without being changed. */
  readonly retry: boolean;
  /** How many seconds the server asks to wait first. */
  readonly retryAfter: number | undefined;
  /** The application's own word, with codes `refused`, `evicted` and `disconnected`. */
  readonly reason: string | undefined;

  constructor(code: ErrorCode | (string & Record<never, never>), message?: string, details: LiveErrorDetails = {}) {
    super(message ?? wordsOf(code), details.cause === undefined ? {} : details);
    this.code = code as ErrorCode;
    this.retry = [...RETRIED, "connection_lost", "connect_timeout"].includes(code);
    this.retryAfter = details.retryAfter;
    this.reason = details.reason;
  }
}

/** The message of an error without one. */
export function wordsOf(code: string): string {
  return code.replaceAll("_", " ");
}

/** The error that a payload of the wire tells of. */
export function errorFrom(payload: ErrorPayload): LiveError {
  const { code, message, reason } = payload;
  return new LiveError(code, message, { reason, retryAfter: positive(payload.retry_after) });
}

import { positive } from "./clock.js";
import { RETRIED, type CodeName } from "./codes.js";
import type { ErrorPayload } from "./frames.js";

/** Codes of errors that the client itself finds; all others come from the server's catalogue. */
export type LocalCode =
  | "closed"
  | "connection_lost"
  | "connect_timeout"
  | "invalid_url"
  | "left"
  | "no_websocket"
  | "queue_full"
  | "user_changed";

/** `timeout` may come from the server or the client. A newer server may send a code that is not in the list. */
export type ErrorCode = CodeName | LocalCode;

/** Texts by the name of a field. */
export type FieldErrors = Readonly<Record<string, readonly string[]>>;

export interface LiveErrorDetails {
  readonly retryAfter?: number | undefined;
  readonly reason?: string | undefined;
  readonly errors?: FieldErrors | undefined;
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
  /** The application's own reason, with codes `refused`, `evicted` and `disconnected`. */
  readonly reason: string | undefined;
  /** Errors by field, with code `invalid_payload`; errors of no single field are under `__all__`. */
  readonly errors: FieldErrors | undefined;

  constructor(code: ErrorCode | (string & Record<never, never>), message?: string, details: LiveErrorDetails = {}) {
    super(message ?? wordsOf(code), details.cause === undefined ? {} : details);
    this.code = code as ErrorCode;
    this.retry = [...RETRIED, "connection_lost", "connect_timeout"].includes(code);
    this.retryAfter = details.retryAfter;
    this.reason = details.reason;
    this.errors = details.errors;
  }
}

/** The message of an error without one. */
export function wordsOf(code: string): string {
  return code.replaceAll("_", " ");
}

/** The error in a payload of the wire. */
export function errorFrom(payload: ErrorPayload): LiveError {
  return new LiveError(payload.code, payload.message, { ...payload, retryAfter: positive(payload.retry_after) });
}

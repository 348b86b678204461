import { positive } from "./clock.js";
import { CODES, type Code, type CodeName } from "./codes.js";
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

const LOCAL: Readonly<Record<LocalCode, string>> = {
  closed: "The client was closed.",
  connection_lost: "The connection was lost.",
  connect_timeout: "The server did not answer in time.",
  invalid_url: "No connection can be made to this URL.",
  left: "The topic was left.",
  no_websocket: "There is no WebSocket here: pass one as options.WebSocket.",
  queue_full: "Too many calls are waiting for a connection.",
  user_changed: "The user is another one than when the call was made.",
};

/** `timeout` may be the server's word or the client's. A newer server may know codes that are not in the list. */
export type ErrorCode = CodeName | LocalCode | (string & Record<never, never>);

export interface LiveErrorDetails {
  readonly retryAfter?: number | undefined;
  readonly reason?: string | undefined;
  readonly cause?: unknown;
}

const catalogue: Readonly<Record<string, Code>> = CODES;
const local: Readonly<Record<string, string>> = LOCAL;

/** Why a call, a join or a connection failed. Decide by `code`; `message` is for developers. */
export class LiveError extends Error {
  override readonly name = "LiveError";
  readonly code: ErrorCode;
  /** Whether the same attempt may succeed later without being changed. */
  readonly retry: boolean;
  /** How many seconds the server asks to wait first. */
  readonly retryAfter: number | undefined;
  /** The application's own word, with codes `refused`, `evicted` and `disconnected`. */
  readonly reason: string | undefined;

  constructor(code: ErrorCode, message?: string, details: LiveErrorDetails = {}) {
    const { cause } = details;
    super(message ?? catalogue[code]?.message ?? local[code] ?? code, cause === undefined ? {} : { cause });
    this.code = code;
    this.retry = catalogue[code]?.retry ?? (code === "connection_lost" || code === "connect_timeout");
    this.retryAfter = details.retryAfter;
    this.reason = details.reason;
  }
}

/** The error that a payload of the wire tells of. */
export function errorFrom(payload: ErrorPayload): LiveError {
  const { code, message, reason } = payload;
  return new LiveError(code, message, { reason, retryAfter: positive(payload.retry_after) });
}

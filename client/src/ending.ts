import { positive } from "./clock.js";
import { CLOSE_CODES } from "./codes.js";
import { LiveError } from "./errors.js";
import type { Goodbye } from "./frames.js";

/** How a connection ended, and what follows from it. */
export interface Ending {
  readonly error: LiveError;
  /** Do not come back by yourself. */
  readonly final: boolean;
  /** How many milliseconds the server asked to wait before coming back; 0 when it did not. */
  readonly after: number;
}

/**
 * Holdfast's own final codes, and of the standard's: protocol error, unsupported data, invalid payload, policy violation.
 * Coming back would repeat them.
 */
const FINAL = /^(44..|100[2378])$/;

/** The one place that decides from a close code whether to come back (PROTOCOL.md §4). */
export function isFinal(close: number): boolean {
  return FINAL.test(`${close}`);
}

/** The meaning of a close after the messages before it. A goodbye outranks the close code that follows it. */
export function endingOf(close: number, reason: string, goodbye: Goodbye["payload"] | undefined): Ending {
  const final = goodbye ? !goodbye.reconnect : isFinal(close);
  return { error: errorOf(close, reason, goodbye), final, after: (positive(goodbye?.after) ?? 0) * 1_000 };
}

function errorOf(close: number, reason: string, goodbye: Goodbye["payload"] | undefined): LiveError {
  // A proxy or the ASGI server takes smaller messages than Holdfast: the client comes back without the one that was too large.
  const name = goodbye?.code ?? (close === 1009 ? "too_large" : CLOSE_CODES[close]);
  if (name) return new LiveError(name, undefined, goodbye);
  return new LiveError("connection_lost", `connection lost (${close}${reason && `: ${reason}`})`);
}

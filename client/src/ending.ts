import { positive } from "./clock.js";
import { CLOSE_CODES } from "./codes.js";
import { LiveError } from "./errors.js";
import type { Goodbye } from "./frames.js";

/** How a connection ended, and what follows from it. */
export interface Ending {
  readonly error: LiveError;
  /** Do not come back by yourself. */
  readonly final: boolean;
  /** How many milliseconds the server asked to wait before coming back. */
  readonly after?: number | undefined;
}

/** Protocol error, unsupported data, invalid payload, policy violation: coming back would repeat them. */
const FINAL_STANDARD_CODES: readonly number[] = [1002, 1003, 1007, 1008];

/** The one place that decides from a close code whether to come back (PROTOCOL.md §4). */
export function isFinal(close: number): boolean {
  return (close >= 4400 && close <= 4499) || FINAL_STANDARD_CODES.includes(close);
}

/** What a close means, given what the server said before. A goodbye outranks the close code that follows it. */
export function endingOf(close: number, reason: string, goodbye: Goodbye["payload"] | undefined): Ending {
  const final = goodbye ? !goodbye.reconnect : isFinal(close);
  const error = errorOf(close, reason, goodbye);
  const after = positive(goodbye?.after);
  return { error, final, after: after === undefined || final ? undefined : after * 1_000 };
}

function errorOf(close: number, reason: string, goodbye: Goodbye["payload"] | undefined): LiveError {
  const name = goodbye?.code ?? CLOSE_CODES[close];
  // A proxy or the ASGI server takes smaller messages than Holdfast: the client comes back without the one that was too large.
  if (close === 1009 && !goodbye) return new LiveError("too_large");
  if (name !== undefined) return new LiveError(name, undefined, { reason: goodbye?.reason });
  return new LiveError("connection_lost", `connection lost (${close}${reason && `: ${reason}`})`);
}

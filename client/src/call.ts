import type { Cancel, Clock } from "./clock.js";
import { LiveError } from "./errors.js";
import { Json } from "./frames.js";
import { Ready } from "./ready.js";
import type { CallOptions } from "./topic.js";

/** The address of a call: the part of a subscription that sending needs. */
export interface CallTarget {
  /** The name to send under, or undefined while the topic is not joined. */
  readonly address: string | undefined;
}

/** One call that has no answer yet. */
export class Call extends Ready<unknown> {
  readonly target: CallTarget;
  readonly name: string;
  readonly key: string;
  readonly payload: Json | undefined = undefined;
  /** Sent on this connection. */
  sent = false;
  /** It had to wait, for a connection or for a place: its time of sending was the client's choice. */
  late = false;
  /** It was sent on an earlier connection too, which broke: a large answer on a slow line must not break this one. */
  patient = false;
  /** Ends the limits that the caller has set. */
  cancel: Cancel = () => undefined;

  /** Throws a LiveError `invalid_payload` when the payload is no JSON object. */
  constructor(target: CallTarget, name: string, key: string, payload: object | null | undefined) {
    super();
    this.target = target;
    this.name = name;
    this.key = key;
    try {
      if (payload !== undefined && payload !== null) this.payload = new Json(payload);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new LiveError("invalid_payload", `The arguments of \`${name}\` are no JSON object: ${why}.`, { cause });
    }
  }

  /** Hold the caller's limits: `give` up when time is over or the signal aborts. */
  limit({ timeout, signal }: CallOptions, clock: Clock, give: (up: unknown) => void): void {
    const abort = (): void => {
      give(signal?.reason);
    };
    const cancelTimeout =
      timeout !== undefined &&
      clock.after(timeout, () => {
        give(new LiveError("timeout"));
      });
    signal?.addEventListener("abort", abort);
    this.cancel = () => {
      if (cancelTimeout) cancelTimeout();
      signal?.removeEventListener("abort", abort);
    };
  }
}

import type { Cancel, Clock } from "./clock.js";
import { LiveError } from "./errors.js";
import { Json } from "./frames.js";
import type { CallOptions } from "./topic.js";

/** One call that has no answer yet. */
export class Call {
  readonly promise: Promise<unknown>;
  readonly name: string;
  readonly key: string;
  readonly payload: Json | undefined;
  /** Sent on this connection. */
  sent = false;
  /** It had to wait, for a connection or for a place: its time of sending was the client's choice. */
  late = false;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;
  #cancelTimeout: Cancel | undefined;
  #cancelAbort: Cancel | undefined;

  constructor(name: string, key: string, payload: object | undefined) {
    this.name = name;
    this.key = key;
    this.payload = payload && new Json(payload);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Hold the caller's limits: `give` up when time is over or the signal aborts. */
  limit({ timeout, signal }: CallOptions, clock: Clock, give: (up: unknown) => void): void {
    if (timeout !== undefined) {
      this.#cancelTimeout = clock.after(timeout, () => {
        give(new LiveError("timeout"));
      });
    }
    if (signal) {
      const abort = (): void => {
        give(signal.reason);
      };
      signal.addEventListener("abort", abort);
      this.#cancelAbort = () => {
        signal.removeEventListener("abort", abort);
      };
    }
  }

  resolve(value: unknown): void {
    this.#settle();
    this.#resolve(value);
  }

  reject(error: unknown): void {
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.#cancelTimeout?.();
    this.#cancelAbort?.();
  }
}

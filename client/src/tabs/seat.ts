import type { Port } from "./port.js";

/** Messages that a tab may send at once, and each second afterwards, before it counts as one that sends too much. */
const FAIR = { burst: 60, perSecond: 25 };
/** The same for what the leader passes on at all. A server takes 100 at once, and closes a connection on which 100 more were too many. */
const MOST = { burst: 120, perSecond: 100 };

/** Milliseconds for which such a tab counts as one. */
const GREEDY = 5_000;

/** Counts what passes: a bucket that fills with time. */
class Bucket {
  readonly #limit: { readonly burst: number; readonly perSecond: number };
  #level: number;
  #at: number;

  constructor(limit: { readonly burst: number; readonly perSecond: number }, now: number) {
    this.#limit = limit;
    this.#level = limit.burst;
    this.#at = now;
  }

  /** Take one. Returns how many seconds it comes too early. */
  take(now: number): number {
    const { burst, perSecond } = this.#limit;
    const passed = Math.max(0, now - this.#at) / 1_000;
    this.#level = Math.min(burst, this.#level + passed * perSecond);
    this.#at = now;
    if (this.#level < 1) return (1 - this.#level) / perSecond;
    this.#level--;
    return 0;
  }
}

/** One tab at the shared connection. */
export class Seat {
  readonly id: string;
  readonly #port: Port;
  readonly #fair: Bucket;
  readonly #most: Bucket;
  /** The tab is gone, or has been sent away. */
  over = false;
  heardAt: number;
  #greedyUntil = 0;
  /** Until then its calls are refused here. */
  refusedUntil = 0;

  constructor(id: string, port: Port, now: number) {
    this.id = id;
    this.#port = port;
    this.heardAt = now;
    this.#fair = new Bucket(FAIR, now);
    this.#most = new Bucket(MOST, now);
  }

  /** Count a message. Returns how many seconds it has to wait, which is 0 for almost all. */
  count(now: number): number {
    if (this.#fair.take(now)) this.#greedyUntil = now + GREEDY;
    return Math.max(this.#most.take(now), (this.refusedUntil - now) / 1_000);
  }

  /** Whether it has sent more than its share lately. */
  greedy(now: number): boolean {
    return now < this.#greedyUntil;
  }

  /** A message of the server as it came. */
  hear(text: string): void {
    if (!this.over && !this.#port.said(text)) this.over = true;
  }

  say(frame: object): void {
    this.hear(JSON.stringify(frame));
  }

  /** Answer a request here. Without `ref` the error answers nothing. */
  fail(ref: number | undefined, code: string, topic?: string, wait?: number): void {
    const payload = { code, message: code.replaceAll("_", " "), ...(wait && { retry_after: wait }) };
    this.say({ type: "error", ...(ref !== undefined && { ref }), ...(topic !== undefined && { topic }), payload });
  }

  close(code: number, reason: string): void {
    if (this.over) return;
    this.over = true;
    this.#port.over(code, reason);
  }

  /** Send the tab away, to a connection of its own. */
  aside(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.#port.aside(reason);
  }
}

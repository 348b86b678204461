import type { Clock } from "../clock.js";
import type { Failure, Result } from "../frames.js";
import type { Seat } from "./seat.js";
import type { SharedTopic } from "./topic.js";

/** A call as a tab sends it. */
export interface SaidCall {
  readonly type: "call";
  readonly topic: string;
  readonly name: string;
  readonly ref?: number;
  readonly key?: string;
  readonly payload?: object;
}

export interface SharedCallsHost {
  readonly clock: Clock;
  /** How many calls the server takes at once. */
  readonly limit: number;
  request(seat: Seat, request: object, answered: (answer: Result | Failure) => void): void;
  send(frame: object): void;
}

interface Waiting {
  /** Its place among all calls, which it keeps when it is made again. */
  readonly turn: number;
  readonly call: SaidCall;
  readonly topic: SharedTopic;
}

interface Line {
  readonly waiting: Waiting[];
  running: number;
  pause: (() => void) | undefined;
}

/** Calls of one tab that may wait here. A tab's client makes as many at once as the server takes. */
const MOST = 2_000;

/**
 * The calls of all tabs. The server limits how many may run at once on one connection: the tabs take turns, and one tab takes at
 * most three quarters of the places. Calls of one tab on one topic keep their order.
 */
export class SharedCalls {
  readonly #host: SharedCallsHost;
  readonly #lines = new Map<Seat, Line>();
  #running = 0;
  #turns = 0;

  constructor(host: SharedCallsHost) {
    this.#host = host;
  }

  open(seat: Seat): void {
    this.#lines.set(seat, { waiting: [], running: 0, pause: undefined });
  }

  /** What the tab has sent already goes on; the server answers, and the answers are passed over. */
  close(seat: Seat): void {
    this.#lines.get(seat)?.pause?.();
    this.#lines.delete(seat);
    this.flush();
  }

  /** Whether a call of the tab has no answer. */
  unanswered(seat: Seat): boolean {
    const line = this.#lines.get(seat);
    return !!line && (line.running > 0 || line.waiting.length > 0);
  }

  add(seat: Seat, call: SaidCall, topic: SharedTopic): void {
    const line = this.#lines.get(seat);
    if (!line) return;
    if (line.waiting.length >= MOST) {
      seat.fail(call.ref, "rate_limited", undefined, 1);
      return;
    }
    line.waiting.push({ turn: this.#turns++, call, topic });
    this.flush();
  }

  /** Send what can be sent now, one of each tab in turn. */
  flush(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const [seat, line] of [...this.#lines]) moved = this.#next(seat, line) || moved;
    }
  }

  #next(seat: Seat, line: Line): boolean {
    if (line.pause) return false;
    const { limit } = this.#host;
    const share = this.#lines.size > 1 ? Math.max(1, Math.floor((limit * 3) / 4)) : limit;
    const full = this.#running >= limit || line.running >= share;
    const busy = new Set<SharedTopic>();
    for (const [place, waiting] of line.waiting.entries()) {
      const { call, topic } = waiting;
      const held = topic.busy || (full && call.ref !== undefined) || busy.has(topic);
      busy.add(topic);
      if (held) continue;
      line.waiting.splice(place, 1);
      this.#send(seat, line, waiting);
      return true;
    }
    return false;
  }

  #send(seat: Seat, line: Line, waiting: Waiting): void {
    const { ref, ...call } = waiting.call;
    if (!waiting.topic.has(seat)) {
      seat.fail(ref, waiting.topic.refusal);
    } else if (ref === undefined) {
      this.#host.send(call);
    } else {
      line.running++;
      this.#running++;
      this.#host.request(seat, call, (answer) => {
        line.running--;
        this.#running--;
        if (!this.#again(seat, line, waiting, answer)) seat.say({ ...answer, ref });
        this.flush();
      });
    }
  }

  /**
   * The server refuses for its rate what comes after another tab's burst. A call of a tab that has kept to its share is made again.
   * Returns false if the tab gets the answer.
   */
  #again(seat: Seat, line: Line, waiting: Waiting, answer: Result | Failure): boolean {
    if (answer.type !== "error" || answer.payload.code !== "rate_limited" || seat.over) return false;
    const { clock } = this.#host;
    const seconds = answer.payload.retry_after ?? 1;
    const now = clock.now();
    if (seat.greedy(now)) {
      seat.refusedUntil = now + seconds * 1_000;
      return false;
    }
    if (![...this.#lines.keys()].some((other) => other !== seat && other.greedy(now))) return false;
    const place = line.waiting.findIndex(({ turn }) => turn > waiting.turn);
    line.waiting.splice(place < 0 ? line.waiting.length : place, 0, waiting);
    line.pause ??= clock.after(seconds * 1_000, () => {
      line.pause = undefined;
      this.flush();
    });
    return true;
  }
}

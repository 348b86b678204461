import { Call, type CallTarget } from "./call.js";
import type { Cancel, Clock } from "./clock.js";
import type { Connection } from "./connection.js";
import { errorFrom, LiveError } from "./errors.js";
import type { Answer } from "./frames.js";
import type { CallOptions } from "./topic.js";

export interface CallsSettings {
  readonly client: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** How many calls may wait for an answer. */
  readonly limit: number;
  /** The connection, when it can be used. */
  connection(): Connection | undefined;
}

/** After a call has waited so many milliseconds, with no message for as long, the client probes the connection. */
const DOUBT = 5_000;

/** All calls without an answer, in the order in which they were made: sent in it, and sent again in it. */
export class Calls {
  readonly #settings: CallsSettings;
  readonly #pending = new Set<Call>();
  readonly #held = new Set<CallTarget>();
  /** Calls of which one may be the message that the server could not read. While there are any, calls are sent one at a time. */
  readonly #suspects = new Set<Call>();
  #doubt: Cancel | undefined;
  #running = 0;
  /** Answers to requests of an earlier round are too late. */
  #round = 0;
  #made = 0;

  constructor(settings: CallsSettings) {
    this.#settings = settings;
  }

  async make(target: CallTarget, name: string, payload: object | undefined, options: CallOptions): Promise<unknown> {
    const { client, clock, limit } = this.#settings;
    options.signal?.throwIfAborted();
    if (this.#pending.size >= limit) throw new LiveError("queue_full");
    const call = new Call(target, name, options.key ?? `${client}-${++this.#made}`, payload);
    this.#pending.add(call);
    call.limit(options, clock, (error) => {
      this.#give(call, error);
    });
    this.flush();
    if (!call.sent) call.late = true;
    return call.promise;
  }

  /** Send what can be sent now. */
  flush(): void {
    const connection = this.#settings.connection();
    if (!connection) return;
    const places = this.#suspects.size ? 1 : (connection.welcome?.limits.calls ?? Infinity);
    for (const call of this.#pending) {
      const { address } = call.target;
      if (this.#running >= places) return;
      if (!call.sent && address !== undefined && !this.#held.has(call.target)) this.#send(connection, call, address);
    }
  }

  /**
   * The connection is gone: what it has not answered is sent again on the next one. Where the other side closed it because
   * a message was too large (1009), `tooLarge` is that error: the calls are sent one by one, or all would end the next too.
   */
  interrupted(tooLarge?: LiveError): void {
    if (!tooLarge) this.#suspects.clear();
    this.#again((call) => {
      call.patient = true;
      if (tooLarge) this.#suspect(call, tooLarge);
    });
  }

  /**
   * The server could not read a message and does not know its `ref`. It may be any call that has no answer, or none of
   * them. Send these again one by one, which their keys allow: a call that is alone when the error repeats is the one.
   */
  unread(error: LiveError): void {
    this.#again((call) => {
      this.#suspect(call, error);
    });
    this.flush();
  }

  #suspect(call: Call, error: LiveError): void {
    if (this.#suspects.has(call)) this.#give(call, error);
    else this.#suspects.add(call);
  }

  /** Reject every call, or those of one topic. */
  reject(error: LiveError, only?: CallTarget): void {
    for (const call of this.#pending) {
      if (!only || call.target === only) this.#give(call, error);
    }
  }

  /** Send all calls without an answer once more. */
  #again(each: (sent: Call) => void): void {
    this.#round++;
    this.#running = 0;
    for (const call of this.#pending) {
      if (call.sent) each(call);
      call.sent = false;
      call.late = true;
    }
  }

  #send(connection: Connection, call: Call, topic: string): void {
    const { name, key, payload } = call;
    const round = this.#round;
    try {
      connection.request({ type: "call", topic, name, key, payload }, (answer) => {
        if (round !== this.#round) return;
        this.#running--;
        this.#answered(call, answer);
        this.flush();
      });
      this.#running++;
      call.sent = true;
      this.#watch();
    } catch (error) {
      this.#give(call, error);
    }
  }

  /** While calls wait: probe a silent connection. One that lives answers, however long the calls take. */
  #watch(): void {
    this.#doubt ??= this.#settings.clock.after(DOUBT, () => {
      this.#doubt = undefined;
      if (![...this.#pending].some(({ sent, patient }) => sent && !patient)) return;
      this.#settings.connection()?.probe(DOUBT);
      this.#watch();
    });
  }

  #answered(call: Call, answer: Answer): void {
    if (!this.#pending.has(call)) return; // given up since
    if (answer.type === "error") {
      const error = errorFrom(answer.payload);
      if (this.#mustWait(call, error)) this.#hold(call, error.retryAfter);
      else this.#give(call, error);
    } else {
      this.#forget(call);
      call.resolve(answer.type === "result" ? answer.payload : undefined);
    }
  }

  /**
   * What the server cannot do now is tried again, as it is without a connection. So is what hits the number of calls that run at
   * once. A rate is the caller's to keep, unless the client chose the time, as when it sends a queue at once.
   */
  #mustWait(call: Call, error: LiveError): boolean {
    return error.retry && (call.late || error.code !== "rate_limited");
  }

  #hold(call: Call, seconds = 1): void {
    const { clock, random } = this.#settings;
    const { target } = call;
    call.sent = false;
    call.late = true;
    if (this.#held.has(target)) return;
    this.#held.add(target);
    clock.after((seconds + random()) * 1_000, () => {
      this.#held.delete(target);
      this.flush();
    });
  }

  #give(call: Call, error: unknown): void {
    if (this.#forget(call)) call.reject(error as Error);
  }

  #forget(call: Call): boolean {
    call.cancel();
    this.#suspects.delete(call);
    const known = this.#pending.delete(call);
    if (!this.#pending.size) {
      this.#doubt?.();
      this.#doubt = undefined;
    }
    return known;
  }
}

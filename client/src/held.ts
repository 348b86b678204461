import { attempt } from "./dispatch.js";
import type { Live, Off, OnOptions, Position, Topic } from "./index.js";
import { Leased, type Recording, type Source } from "./leased.js";

/** Milliseconds for which a lease is kept that no render asks for. */
const KEPT = 10_000;
/** Milliseconds for which a refusal is kept: React renders a component that throws once more, and a user may try again. */
const REFUSAL_KEPT = 1_000;

type Call = (...args: unknown[]) => void;
type Add = (name: string, call: Call, options?: OnOptions) => Off;
type Handler = readonly [name: string, call: Call, signal: AbortSignal | undefined];
type Happening = readonly [handlers: readonly Handler[], name: string, args: readonly unknown[]];

/** Keeps what happens to a topic from its lease to `replay`, for the handlers that have come by then. */
class Recorder implements Recording {
  done = false;
  readonly #happenings: Happening[] = [];
  readonly #over = new AbortController();

  sourceOf(lease: Topic): Source {
    const { signal } = this.#over;
    const events: Handler[] = [];
    const lifecycle: Handler[] = [];
    const record = (...happening: Happening): void => {
      this.#happenings.push(happening);
    };
    const both = (handlers: Handler[], add: Add): Add => (name, call, options) => {
      if (!this.done) handlers.push([name, call, options?.signal]);
      return add(name, call, options);
    };
    lease.on("*", (payload, event) => { record(events, event.name, [payload, event]); }, { signal });
    for (const name of ["joined", "reset"] as const) {
      lease.lifecycle.on(name, (info: unknown) => { record(lifecycle, name, [info]); }, { signal });
    }
    const { lifecycle: ofLease } = lease;
    return {
      on: both(events, (...args) => lease.on(...args)) as Topic["on"],
      lifecycle: { on: both(lifecycle, (name, ...rest) => ofLease.on(name as "joined", ...rest)) as Topic["lifecycle"]["on"] },
      get position() {
        return lease.position;
      },
    };
  }

  /** Call the handlers with what has happened. */
  replay(): void {
    this.stop();
    for (const [handlers, name, args] of this.#happenings.splice(0)) {
      for (const [wanted, call, signal] of handlers) {
        if (signal?.aborted || (wanted !== name && wanted !== "*")) continue;
        attempt(() => {
          call(...structuredClone(args)); // each may do with its payload what it wants
        });
      }
    }
  }

  /** Record no more. */
  stop(): void {
    this.done = true;
    this.#over.abort();
  }
}

/**
 * A topic that a suspended component waits for. React keeps nothing of a component that suspends before it is mounted, and
 * does not say when it gives up. So this keeps the lease until the component is mounted, or until no render has asked for it
 * for a while.
 */
export class Held {
  readonly leased: Leased;
  readonly #recorder = new Recorder();
  readonly #forget: () => void;
  readonly #release: Off;
  readonly #unsubscribe: Off;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #promise!: Promise<void>;
  #resolve!: () => void;
  #asked = true;
  #over = false;

  constructor(live: Live, name: string, since: Position | null | undefined, forget: () => void) {
    this.leased = new Leased(() => live, name, since, this.#recorder);
    this.#forget = forget;
    this.#renew();
    this.#release = this.leased.take();
    this.#unsubscribe = this.leased.view.subscribe(() => {
      this.#settle();
    });
    this.#wait(KEPT);
    this.#settle();
  }

  /** A promise for a component to wait for, or undefined if there is nothing to wait for. */
  ask(): Promise<void> | undefined {
    this.#asked = true;
    return this.#pending ? this.#promise : undefined;
  }

  /** A component that has taken the topic is mounted, and adds its handlers in this turn. */
  claim(): void {
    if (this.#over) return;
    this.#end();
    queueMicrotask(() => {
      this.#recorder.replay();
    });
  }

  get #pending(): boolean {
    const { joined, error } = this.leased.view.get();
    return !this.#over && !joined && !error;
  }

  #settle(): void {
    if (this.#pending) return;
    this.#resolve();
    if (this.leased.view.get().error) {
      this.#asked = false;
      this.#wait(REFUSAL_KEPT);
    }
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#check();
    }, ms);
  }

  /** Drop the topic if no component wants it. React renders those that wait for the promise again, and they ask again. */
  #check(): void {
    if (!this.#asked || this.leased.view.get().error) {
      this.#end();
      this.#recorder.stop();
      return;
    }
    this.#asked = false;
    this.#wait(KEPT);
    if (!this.#pending) return;
    const resolve = this.#resolve;
    this.#renew();
    resolve();
  }

  #renew(): void {
    this.#promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#forget();
    this.#unsubscribe();
    this.#release();
    this.#resolve();
  }
}

const all = new WeakMap<Live, Map<string, Held>>();

/** The topic of this name that suspended components of this client wait for; the same for all of them. */
export function held(live: Live, name: string, since: Position | null | undefined): Held {
  const names = all.get(live) ?? new Map<string, Held>();
  all.set(live, names);
  const known = names.get(name);
  if (known) return known;
  const made = new Held(live, name, since, () => names.delete(name));
  names.set(name, made);
  return made;
}

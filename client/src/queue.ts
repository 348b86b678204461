/**
 * Persistent queue of calls: a call without an answer survives a reload of the page, and the next page makes it again.
 *
 *     import { CallQueue } from "holdfast/queue";
 *     const queue = new CallQueue(live, { user: "7", storage: "local", restored: ({ payload, result }) => … });
 *     await queue.call(room, "post", { body: "hi" });
 *
 * It is no part of the client because most pages do without it, and uses nothing of the client but what any page can use.
 */

import { LiveError } from "./errors.js";
import { Json } from "./frames.js";
import type { ActionsOf, Live, LiveStatus, PayloadOf, ResultOf, StatusDetail, Topic, TopicTypes } from "./index.js";
import { afterEnd, canTell, live as lives } from "./pagelife.js";
import { StoredCalls, type StoredCall } from "./stored.js";

export interface CallQueueOptions {
  /**
   * The id of the user that the page was rendered for; null for an anonymous user. Calls are made only while the server
   * says the same, and are rejected with `user_changed` otherwise.
   */
  readonly user: string | number | null;
  /**
   * `session` (the default): `sessionStorage`, which survives a reload. `local`: `localStorage`, which also survives the
   * end of the tab, and which all tabs of the site share.
   */
  readonly storage?: "session" | "local" | undefined;
  /** Distinguishes queues of one site from each other; default: `holdfast`. */
  readonly name?: string | undefined;
  /** Called for each call that an earlier page has left, before it is made again. */
  readonly restored?: ((call: RestoredCall) => void) | undefined;
}

/** A call that an earlier page has left. */
export interface RestoredCall {
  readonly topic: string;
  readonly name: string;
  readonly payload: unknown;
  /** When it was made. */
  readonly at: Date;
  readonly result: Promise<unknown>;
}

export interface QueuedCallOptions {
  /** Takes the call out of the queue when aborted; it may have been carried out. */
  readonly signal?: AbortSignal | undefined;
}

interface Waiting {
  readonly key: string;
  call: StoredCall;
  topic: Topic | undefined;
  readonly signal: AbortSignal | undefined;
  readonly result: Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Takes it out of the queue when the caller aborts; removed once it is over. */
  abort: (() => void) | undefined;
  /** The client has it. */
  made: boolean;
}

/**
 * Calls that are kept until they are answered. The calls of one topic are made one after the other, in the order in
 * which they were written; those that hit a limit are made again. Each is carried out once, however many pages made it:
 * its key goes with it. Keys of anonymous users do not outlive their page, so a call of theirs that may have been sent is
 * rejected with `outcome_unknown` on the next one.
 *
 * A connection that the server closed for good leaves calls waiting for `live.reconnect()` or for the next page.
 * `live.close()` rejects them with `closed` and leaves them to the next page.
 */
export class CallQueue {
  readonly #live: Live;
  readonly #user: string | null;
  readonly #stored: StoredCalls;
  readonly #page = `holdfast:page:${randomText()}`;
  readonly #end: () => void;
  readonly #restored: CallQueueOptions["restored"];
  /** Topics that the queue itself has joined, by name. */
  readonly #leases = new Map<string, Topic>();
  /** Topics whose calls wait because one of them hit a limit. */
  readonly #held = new Set<string>();
  #waiting: readonly Waiting[] = [];
  #last = 0;
  #over = false;

  constructor(live: Live, { user, storage = "session", name = "holdfast", restored }: CallQueueOptions) {
    this.#live = live;
    this.#user = user === null ? null : String(user);
    this.#stored = new StoredCalls(() => (storage === "local" ? localStorage : sessionStorage), name);
    this.#restored = restored;
    this.#end = lives(this.#page);
    live.on("status", (status, detail) => {
      this.#changed(status, detail);
    });
    this.#changed(live.status, live.state);
    // Where pages cannot see each other, tabs that share a storage would each make the calls of an anonymous user.
    if (canTell() || this.#user !== null || storage === "session") this.#restore();
  }

  /** Keep the call, make it as soon as its turn has come, and return its result. The payload is fixed now. */
  async call<Types extends TopicTypes, Name extends keyof ActionsOf<Types> & string>(
    topic: Topic<Types>,
    name: Name,
    ...args: [...payload: PayloadOf<ActionsOf<Types>[Name]>, options?: QueuedCallOptions | undefined]
  ): Promise<ResultOf<ActionsOf<Types>[Name]>> {
    const [payload, { signal } = {}] = args as readonly unknown[] as readonly [payload?: object | null, options?: QueuedCallOptions];
    if (this.#over) throw new LiveError("closed");
    signal?.throwIfAborted();
    const at = (this.#last = Math.max(Date.now(), this.#last + 1));
    const fixed = payload ? fix(name, payload) : undefined;
    const call = { at, owner: this.#page, user: this.#user, topic: topic.name, name, payload: fixed };
    const waiting = this.#add(`q-${randomText()}`, call, topic, signal);
    this.#stored.put(waiting.key, call);
    waiting.abort = () => {
      this.#drop(waiting, signal?.reason);
    };
    signal?.addEventListener("abort", waiting.abort);
    this.#makeNext();
    return waiting.result as Promise<ResultOf<ActionsOf<Types>[Name]>>;
  }

  // ── what earlier pages have left ───────────────────────────────────────────────────────────────

  #restore(): void {
    const owners = new Set(this.#stored.all().map(([, { owner }]) => owner));
    for (const owner of owners) {
      // A page that is being reloaded may live on for a moment, and another tab until it is closed.
      afterEnd(owner, () => {
        this.#takeOver(owner);
      });
    }
  }

  /** Take the calls of a page that is gone. Until this returns no other page takes them. */
  #takeOver(owner: string): void {
    if (this.#over) return;
    for (const [key, call] of this.#stored.all()) {
      if (call.owner !== owner) continue;
      if (call.user !== this.#user) {
        this.#stored.remove(key); // this user has no business with what another one wrote
        continue;
      }
      const waiting = this.#add(key, { ...call, owner: this.#page });
      this.#stored.put(key, waiting.call);
      if (call.sent) this.#drop(waiting, new LiveError("outcome_unknown"));
      const { topic, name, payload, at } = call;
      this.#restored?.({ topic, name, payload, at: new Date(at), result: waiting.result });
    }
    this.#makeNext();
  }

  // ── one call after the other ───────────────────────────────────────────────────────────────────

  #add(key: string, call: StoredCall, topic?: Topic, signal?: AbortSignal): Waiting {
    let settle!: Pick<Waiting, "resolve" | "reject">;
    const result = new Promise<unknown>((resolve, reject) => {
      settle = { resolve, reject };
    });
    result.catch(() => undefined); // the page need not wait for a call of an earlier one
    const waiting: Waiting = { key, call, topic, signal, result, ...settle, abort: undefined, made: false };
    this.#waiting = [...this.#waiting, waiting].sort((one, other) => one.call.at - other.call.at);
    return waiting;
  }

  #changed(status: LiveStatus, { error }: StatusDetail): void {
    if (status === "closed" && error?.code === "closed") {
      this.#over = true;
      for (const waiting of this.#waiting) {
        unhear(waiting);
        waiting.reject(error);
      }
      this.#waiting = [];
      this.#end();
      return;
    }
    for (const waiting of this.#waiting) this.#mark(waiting);
    this.#makeNext();
  }

  #makeNext(): void {
    const { status, user } = this.#live;
    if (this.#over || status === "closed") return;
    if (user !== undefined && user !== this.#user) {
      for (const waiting of this.#waiting) this.#drop(waiting, new LiveError("user_changed"));
      return;
    }
    const busy = new Set(this.#held);
    for (const waiting of this.#waiting) {
      const { topic } = waiting.call;
      if (busy.has(topic)) continue;
      busy.add(topic);
      // Before the first welcome the client does not know which user would make the call.
      if (user === undefined) this.#topicOf(waiting);
      else if (!waiting.made) void this.#make(waiting);
    }
  }

  async #make(waiting: Waiting): Promise<void> {
    const { key, signal } = waiting;
    const { name, payload } = waiting.call;
    waiting.made = true;
    this.#mark(waiting);
    try {
      waiting.resolve(await this.#topicOf(waiting).call(name, payload, { key, signal }));
      this.#forget(waiting);
    } catch (error) {
      waiting.made = false;
      this.#failed(waiting, error as LiveError);
    }
    this.#makeNext();
  }

  #failed(waiting: Waiting, error: LiveError): void {
    const { topic } = waiting.call;
    if (this.#live.status === "closed") return; // until `reconnect()`, or for the next page
    if (error.code === "left") waiting.topic = undefined; // the part of the page that wrote it is gone
    else if (error.retry || error.code === "queue_full") this.#hold(topic, error.retryAfter);
    else this.#drop(waiting, error);
  }

  /** A topic to make the call on: the caller's, or one that the queue joins until it needs it no more. */
  #topicOf(waiting: Waiting): Topic {
    const { topic } = waiting.call;
    let found = waiting.topic ?? this.#leases.get(topic);
    // From now on: a position that the page has for the topic is for those who handle its events.
    if (!found) this.#leases.set(topic, (found = this.#live.lease(topic, { since: null })));
    return found;
  }

  #hold(topic: string, seconds = 1): void {
    this.#held.add(topic);
    setTimeout(() => {
      this.#held.delete(topic);
      this.#makeNext();
    }, (seconds + Math.random()) * 1_000);
  }

  /** Write down that a call may have been sent, before it is. */
  #mark(waiting: Waiting): void {
    const { key, made, call } = waiting;
    if (this.#user !== null || !made || call.sent || this.#live.status !== "online") return;
    waiting.call = { ...call, sent: true };
    if (!this.#stored.put(key, waiting.call)) this.#stored.remove(key);
  }

  #drop(waiting: Waiting, error: unknown): void {
    waiting.reject(error);
    this.#forget(waiting);
  }

  #forget(waiting: Waiting): void {
    const { key, call: { topic } } = waiting;
    unhear(waiting);
    this.#stored.remove(key);
    this.#waiting = this.#waiting.filter((other) => other.key !== key);
    if (this.#waiting.some(({ call }) => call.topic === topic)) return;
    this.#leases.get(topic)?.leave();
    this.#leases.delete(topic);
  }
}

/** Stop listening to the caller's signal, which may live as long as the page. */
function unhear({ signal, abort }: Waiting): void {
  if (abort) signal?.removeEventListener("abort", abort);
}

/** The payload as it will be sent, whatever becomes of the caller's object. Throws a LiveError `invalid_payload`. */
function fix(name: string, payload: object): object {
  try {
    return JSON.parse(new Json(payload).text) as object;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LiveError("invalid_payload", `The arguments of \`${name}\` are no JSON object: ${why}.`, { cause });
  }
}

/** 128 random bits as text. `crypto.randomUUID` exists in secure contexts only. */
function randomText(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

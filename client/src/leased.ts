import { Cell } from "./cell.js";
import { LiveError, type Live, type Off, type Position, type PresenceState, type Topic } from "./index.js";
import type { LiveTopic, TopicName } from "./views.js";

/** The part of a topic that handlers need. */
export type Source = Pick<Topic, "lifecycle" | "on" | "position">;

/** Adds handlers to a topic, all of them with the signal. */
export type Use = (topic: Source, signal: AbortSignal) => void;

/** Stands between a lease and handlers that come later. */
export interface Recording {
  /** Handlers that are added now get only new events. */
  readonly done: boolean;
  sourceOf(lease: Topic): Source;
}

type Since = Position | null | undefined;
type State = Pick<LiveTopic, "error" | "joined" | "status">;

const UNKNOWN: PresenceState = Object.freeze({ members: Object.freeze([]), count: undefined, listed: false });

/**
 * One topic for components that come and go. It has a lease while at least one user has taken it; making it opens
 * nothing. Handlers belong to it and not to the lease: they may come before the first lease, and stay for the next one.
 */
export class Leased {
  readonly name: TopicName;
  readonly view: Cell<LiveTopic>;
  readonly presence = new Cell(UNKNOWN);
  readonly #live: () => Live;
  readonly #since: Since;
  readonly #recording: Recording | undefined;
  readonly #uses = new Set<(topic: Source) => void>();
  #lease: Topic | undefined;
  #source: Source | undefined;
  #state: State;
  #snapshot: unknown;
  #users = 0;
  /** The lease was taken in this turn. */
  #new = false;
  #joined = false;
  /** A component looks at the status or the error. */
  #heard = false;

  constructor(live: () => Live, name: TopicName, since?: Since, recording?: Recording) {
    this.#live = live;
    this.name = name;
    this.#since = since;
    this.#recording = recording;
    this.#state = { status: name ? "joining" : "idle", joined: undefined, error: undefined };
    this.view = new Cell(this.#viewOf(this.#state));
  }

  /** Handlers that are added now see all that the lease brings. */
  get #fresh(): boolean {
    return !this.#lease || this.#new || this.#recording?.done === false;
  }

  /** Join until the function that this returns is called. */
  take(): Off {
    if (!this.#users++ && !this.#lease) this.#begin();
    let here = true;
    return () => {
      if (!here) return;
      here = false;
      this.#users--;
      atTurnsEnd(this);
    };
  }

  /** Add handlers to this lease and to those that follow. */
  attach(use: Use): Off {
    const controller = new AbortController();
    const add = (topic: Source): void => {
      use(topic, controller.signal);
    };
    this.#uses.add(add);
    if (this.#source) add(this.#source);
    return () => {
      this.#uses.delete(add);
      controller.abort();
    };
  }

  /** Join, with handlers that need the topic's state and all events after it. */
  follow(use: Use): Off {
    // What a lease has brought before is gone: a lease of its own is joined with the present state.
    const leased = this.#fresh ? this : new Leased(this.#live, this.name);
    const release = leased.take();
    const off = leased.attach(use);
    return () => {
      off();
      release();
    };
  }

  readonly call = async (name: string, ...args: unknown[]): Promise<unknown> => {
    const release = this.take();
    try {
      if (!this.#lease) throw this.view.get().error ?? new LiveError("left", "the topic has no name");
      return await this.#lease.call(name, ...(args as []));
    } finally {
      release();
    }
  };

  readonly #send = (name: string, payload?: object): void => {
    this.#lease?.send(name, payload);
  };

  #begin(): void {
    const { name } = this;
    if (!name) return;
    this.#new = true;
    atTurnsEnd(this);
    let lease: Topic;
    try {
      lease = this.#lease = this.#live().lease(name, { since: this.#joined ? undefined : this.#since });
    } catch (error) {
      this.#show({ status: "left", joined: undefined, error: error as LiveError }); // the client was closed
      return;
    }
    const show = (): void => {
      if (lease === this.#lease) this.#show(lease.state);
    };
    lease.subscribe(show);
    lease.presence.subscribe(() => {
      this.presence.set(lease.presence.state);
    });
    show();
    this.presence.set(lease.presence.state);
    const source = (this.#source = this.#recording?.done === false ? this.#recording.sourceOf(lease) : lease);
    for (const add of this.#uses) add(source);
  }

  /** The turn is over: handlers that come from now on are late, and a topic without users is left. */
  settle(): void {
    this.#new = false;
    if (this.#users) return;
    const lease = this.#lease;
    this.#lease = this.#source = undefined;
    lease?.leave();
  }

  #show(state: State): void {
    const before = this.#state;
    if (state.status === before.status && state.joined === before.joined && state.error === before.error) return;
    this.#state = state;
    this.#joined ||= !!state.joined;
    if (state.joined && "snapshot" in state.joined) this.#snapshot = state.joined.snapshot;
    this.view.set(this.#viewOf(state));
    if (state.status === "refused" && !this.#heard) {
      console.warn(`Holdfast: "${this.name ?? ""}" was refused; look at its status or its error`, state.error);
    }
  }

  #viewOf({ status, joined, error }: State): LiveTopic {
    const hear = <Value>(value: Value): Value => {
      this.#heard = true;
      return value;
    };
    return Object.freeze<LiveTopic>({
      name: this.name,
      get status() {
        return hear(status);
      },
      get error() {
        return hear(error);
      },
      joined,
      snapshot: this.#snapshot,
      call: this.call,
      send: this.#send,
      leased: this,
    });
  }
}

let changed: Set<Leased> | undefined;

/**
 * Settle at the end of the turn: React's StrictMode and hot reloads leave a topic and take it again in one turn. The client
 * joins at the end of the turn too, and this must come before: call it before `lease`.
 */
function atTurnsEnd(leased: Leased): void {
  if (!changed) {
    changed = new Set();
    queueMicrotask(() => {
      const all = changed;
      changed = undefined;
      for (const each of all ?? []) each.settle();
    });
  }
  changed.add(leased);
}

/** The topic of a source: of a view or a store the one it stands for, of a name a new one. */
export function leasedOf(source: { readonly leased: object } | TopicName, live: () => Live, since?: Since): Leased {
  return typeof source === "object" && source ? (source.leased as Leased) : new Leased(live, source, since);
}

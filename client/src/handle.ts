import type { CallTarget } from "./call.js";
import type { Calls } from "./calls.js";
import type { Dispatch } from "./dispatch.js";
import { Emitter, type Listener, type Off, type OnOptions } from "./emitter.js";
import { LiveError } from "./errors.js";
import type { Position } from "./position.js";
import { NOT_KNOWN, type PresenceChange, type PresenceEvents, type PresenceState } from "./presence.js";
import { Ready } from "./ready.js";
import { publish } from "./store.js";
import type {
  CallOptions,
  EventHandler,
  EventInfo,
  JoinedInfo,
  ResetInfo,
  Topic,
  TopicLifecycle,
  TopicState,
  TopicStatus,
} from "./topic.js";

type Events = Record<string, [payload: unknown, info: EventInfo]>;

/** Events of the topic itself; `change` is for code that watches its state. */
interface Lifecycle extends TopicLifecycle {
  change: [];
}

/** The part of a topic that its handles need. */
export interface HandleHost {
  readonly calls: Calls;
  readonly dispatch: Dispatch;
  readonly position: Position | undefined;
  readonly members: PresenceState;
  /** Names of the events that the topic declares, where the server sends them. */
  readonly declared: readonly string[] | undefined;
  /** The destination of calls; undefined while there is none. */
  readonly address: string | undefined;
  send(name: string, payload: object | undefined): void;
  release(handle: Handle): void;
}

/** Older browsers do not have the symbol; compilers that bring `using` to them look for the other one. */
const DISPOSE = (Symbol as { readonly dispose?: symbol }).dispose ?? Symbol.for("Symbol.dispose");

/** One lease of a topic, a `Topic` to its user: its own handlers, state and calls on what others may share. */
export class Handle implements CallTarget {
  readonly name: string;
  readonly lifecycle: Topic["lifecycle"];
  readonly presence: Topic["presence"];
  readonly leave: () => void;
  #host: HandleHost;
  readonly #signal: AbortSignal | undefined;
  /** A position was asked for that the shared stream is not at. */
  #behind: boolean;
  readonly #events: Emitter<Events>;
  readonly #lifecycle: Emitter<Lifecycle>;
  readonly #presence: Emitter<PresenceEvents>;
  readonly #ready = new Ready<JoinedInfo>();
  #state: TopicState = Object.freeze({ status: "joining", joined: undefined, error: undefined });
  #over = false;
  #awaited = false;
  #last: Position | undefined;
  /** Names of events that have handlers, and that no list of declared names has been compared with yet. */
  readonly #unchecked = new Set<string>();

  constructor(name: string, host: HandleHost, behind: boolean, signal: AbortSignal | undefined) {
    const { dispatch } = host;
    this.name = name;
    this.#host = host;
    this.#behind = behind;
    this.#signal = signal;
    this.#events = new Emitter(dispatch);
    const lifecycle = (this.#lifecycle = new Emitter<Lifecycle>(dispatch));
    this.lifecycle = Object.freeze<Topic["lifecycle"]>({ on: (...args) => lifecycle.on(...args) });
    const presence = (this.#presence = new Emitter<PresenceEvents>(dispatch));
    this.presence = presenceOf(() => this.#members, presence);
    this.leave = () => {
      this.#host.release(this);
    };
    Object.defineProperty(this, DISPOSE, { value: this.leave });
    publish(this);
    signal?.addEventListener("abort", this.leave);
  }

  // ── the topic ──────────────────────────────────────────────────────────────────────────────────

  get status(): TopicStatus {
    return this.state.status;
  }

  get state(): TopicState {
    return this.#state;
  }

  get position(): Position | undefined {
    return this.#over ? this.#last : this.#host.position;
  }

  get ready(): Promise<JoinedInfo> {
    this.#awaited = true;
    return this.#ready.promise;
  }

  get address(): string | undefined {
    return this.#over ? undefined : this.#host.address;
  }

  on(name: string, handler: EventHandler<unknown>, options?: OnOptions): Off {
    this.#unchecked.add(name);
    this.#checkNames();
    return this.#events.on(name, handler, options);
  }

  subscribe(listener: () => void): Off {
    return this.#lifecycle.on("change", listener);
  }

  async call(name: string, payload?: object, options: CallOptions = {}): Promise<unknown> {
    if (this.#ready.error) throw this.#ready.error;
    return this.#host.calls.make(this, name, payload, options);
  }

  send(name: string, payload?: object): void {
    if (this.address !== undefined) this.#host.send(name, payload);
  }

  get #members(): PresenceState {
    return this.#over ? NOT_KNOWN : this.#host.members;
  }

  // ── what the subscription says ─────────────────────────────────────────────────────────────────

  /** Another subscription serves it from now on. */
  move(host: HandleHost, behind: boolean): void {
    this.#host = host;
    this.#behind = behind;
  }

  /** The handlers that want an event of this name. */
  listeners(name: string): readonly Listener<Events[string]>[] {
    return [...this.#events.of(name), ...this.#events.of("*")];
  }

  joined(info: Omit<JoinedInfo, "again">): void {
    this.#checkNames();
    const again = this.state.joined !== undefined;
    const joined = { ...info, recovered: info.recovered && (again || !this.#behind), again };
    this.#ready.resolve(joined);
    this.#lifecycle.emit("joined", joined);
    this.#become({ status: "joined", joined, error: undefined });
  }

  changed({ joined, left }: PresenceChange): void {
    for (const member of left) this.#presence.emit("left", member);
    for (const member of joined) this.#presence.emit("joined", member);
    this.#presence.emit("change", this.#members.members);
  }

  reset(info: ResetInfo): void {
    this.#lifecycle.emit("reset", info);
  }

  /** Not joined at the moment; it will be again. */
  interrupted(): void {
    if (this.status === "joined") this.#become({ status: "joining" });
  }

  /** The connection will not come back by itself, so nothing should wait for it; without an error, it may again. */
  suspended(error: LiveError | undefined): void {
    if (error) this.#ready.reject(error);
    else this.#ready.renew();
    this.#become({ error });
  }

  /** It is over: by the caller, by the server, or because the whole client is closed. */
  end(status: "refused" | "left", error?: LiveError): void {
    const reason = error ?? new LiveError("left");
    const known = this.#members !== NOT_KNOWN;
    this.#last = this.position;
    this.#over = true;
    this.#signal?.removeEventListener("abort", this.leave);
    this.#ready.reject(reason);
    this.#host.calls.reject(reason, this);
    if (known) this.#presence.emit("change", []);
    if (status === "refused" && !this.#heard) {
      console.warn(`Holdfast: "${this.name}" was refused; see lifecycle.on("refused")`, reason);
    }
    this.#lifecycle.emit(status, { error });
    this.#become({ status, error });
    this.#events.end();
    this.#presence.end("change");
    this.#lifecycle.end(status, "change");
  }

  /** Warn the developer of handlers that no event of the topic will call. */
  #checkNames(): void {
    const { declared } = this.#host;
    if (!declared) return;
    for (const name of this.#unchecked) {
      if (name !== "*" && !declared.includes(name)) console.warn(`Holdfast: "${this.name}" has no event "${name}", only`, declared);
    }
    this.#unchecked.clear();
  }

  /** Whether the page learns of a refusal: by a handler, by a store, or by `ready`. */
  get #heard(): boolean {
    return this.#awaited || this.#lifecycle.of("refused").length + this.#lifecycle.of("change").length > 0;
  }

  #become(change: Partial<TopicState>): void {
    this.#state = Object.freeze({ ...this.#state, ...change });
    this.#lifecycle.emit("change");
  }
}

function presenceOf(known: () => PresenceState, events: Emitter<PresenceEvents>): Topic["presence"] {
  return Object.freeze<Topic["presence"]>({
    get members() {
      return known().members;
    },
    get count() {
      return known().count;
    },
    get listed() {
      return known().listed;
    },
    get state() {
      return known();
    },
    on: (...args) => events.on(...args),
    subscribe: (listener) => events.on("change", listener),
  });
}

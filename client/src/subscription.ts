import type { Backoff } from "./backoff.js";
import type { Calls } from "./calls.js";
import type { Cancel, Clock } from "./clock.js";
import type { Connection } from "./connection.js";
import { attempt, type Dispatch } from "./dispatch.js";
import { errorFrom, LiveError } from "./errors.js";
import { Json, type Event, type Joined, type PresenceNews, type Reset } from "./frames.js";
import { Handle, type HandleHost } from "./handle.js";
import { position, positionIn, samePlace, type Position } from "./position.js";
import { MemberList, type PresenceChange, type PresenceState } from "./presence.js";

/** What a subscription needs of the live connection around it. */
export interface SubscriptionHost {
  readonly calls: Calls;
  readonly clock: Clock;
  readonly dispatch: Dispatch;
  backoff(): Backoff;
  /** The connection, when it can be used. */
  connection(): Connection | undefined;
  /** Call `sync` before the next message comes. What happens until then is done in one. */
  schedule(): void;
  /** The others that stand for the topic of this canonical name. */
  others(than: Subscription, canonical: string): readonly Subscription[];
  /** It has no part in the topic any more, and nothing that is worth to be remembered. */
  forget(subscription: Subscription): void;
}

/** What the server knows of the subscription on the present connection. */
type Wire = "out" | "joining" | "in" | "leaving";

/**
 * A topic on the wire, for as many handles as want it. What is wanted and what the server knows are kept apart;
 * `sync` brings them together.
 */
export class Subscription implements HandleHost {
  readonly name: string;
  readonly #host: SubscriptionHost;
  readonly #backoff: Backoff;
  readonly handles = new Set<Handle>();
  declared: readonly string[] | undefined;
  readonly #members = new MemberList();
  #shared: Handle | undefined;
  #canonical: string;
  #wire: Wire = "out";
  #since: Position | undefined;
  #position: Position | undefined;
  /** The page has been in the topic: a join without a position may have missed something. */
  #before: boolean;
  #snapshots = false;
  #stale = false;
  #retry: Cancel | undefined;

  constructor(name: string, host: SubscriptionHost, before: boolean) {
    this.name = this.#canonical = name;
    this.#before = before;
    this.#host = host;
    this.#backoff = host.backoff();
  }

  get calls(): Calls {
    return this.#host.calls;
  }

  get dispatch(): Dispatch {
    return this.#host.dispatch;
  }

  get position(): Position | undefined {
    return this.#position;
  }

  get canonical(): string {
    return this.#canonical;
  }

  get members(): PresenceState {
    return this.#members.state;
  }

  get wanted(): boolean {
    return this.handles.size > 0;
  }

  /** Only its position is of use now, should the topic be wanted again. */
  get idle(): boolean {
    return !this.wanted && this.#wire === "out";
  }

  get address(): string | undefined {
    return this.#listening && this.wanted ? this.#canonical : undefined;
  }

  // ── handles ────────────────────────────────────────────────────────────────────────────────────

  /** The handle that callers share unless they want their own. */
  shared(name: string, since: Position | null | undefined): Handle {
    return (this.#shared ??= this.lease(name, since));
  }

  lease(name: string, since: Position | null | undefined, signal?: AbortSignal): Handle {
    const handle = new Handle(name, this, !!since && !samePlace(since, this.#position), signal);
    this.handles.add(handle);
    if (signal?.aborted) handle.leave();
    this.#host.schedule();
    return handle;
  }

  /** Take over the handles of another one that turned out to stand for the same topic. */
  #adopt(other: Subscription): void {
    for (const handle of other.handles) {
      handle.move(this, !samePlace(other.position, this.#position));
      this.handles.add(handle);
    }
    other.handles.clear();
    other.#out();
    this.#host.forget(other);
  }

  /** Whether a start from `since` agrees with the state of the present leases. */
  agrees(since: Position | null): boolean {
    return !since || samePlace(since, this.#position) || samePlace(since, this.#since);
  }

  /**
   * Before the first handle comes: start from `since`, or now if it is null, whatever was seen before. Without it go on
   * where the last handle left, or fetch the state where the topic has one.
   */
  begin(since: Position | null | undefined): void {
    if (since === undefined) {
      if (this.#snapshots) this.#restart(undefined);
      return;
    }
    this.#before = false;
    this.#since = since ?? undefined;
    this.#restart(this.#since);
  }

  release(handle: Handle): void {
    this.#host.dispatch.run(() => {
      if (!this.handles.has(handle)) return;
      handle.end("left"); // while it can still see where it was
      this.handles.delete(handle);
      if (this.#shared === handle) this.#shared = undefined;
      if (!this.wanted) this.#clearRetry();
      if (this.idle) this.#members.clear();
      this.#host.schedule();
    });
  }

  send(name: string, payload: object | undefined): void {
    const topic = this.#canonical;
    this.#host.connection()?.send({ type: "call", topic, name, payload: payload && new Json(payload) });
  }

  // ── messages of the connection ─────────────────────────────────────────────────────────────────

  /** Do the next thing that brings what the server knows nearer to what is wanted. */
  sync(): void {
    const connection = this.#host.connection();
    if (!connection || this.#retry) return; // or what is to be done next has been put off
    if (this.#wire === "out") {
      if (this.wanted) this.#join(connection);
    } else if (this.#wire === "in") {
      if (this.wanted) this.#welcomeLate();
      if (!this.wanted || this.#stale) this.#leave(connection);
    }
  }

  interrupted(): void {
    this.#out();
    this.#clearRetry();
    this.#backoff.reset();
  }

  /** Another user: a name that stands for the user now means another topic, with a log of its own. */
  userChanged(): void {
    for (const handle of this.handles) {
      if (handle.name === this.name) continue;
      handle.end("left", new LiveError("user_changed"));
      this.handles.delete(handle);
    }
    if (this.#canonical === this.name) return;
    this.#canonical = this.name;
    this.#position = undefined;
    this.#before = false;
    this.#changed(this.#members.clear());
  }

  #joined({ topic, payload }: Joined): void {
    this.#wire = "in";
    this.#canonical = topic;
    for (const other of this.#host.others(this, topic)) this.#adopt(other);
    this.#backoff.reset();
    if (!this.wanted || this.#stale) {
      this.sync();
      return;
    }
    const recovered = payload.recovered ?? (!this.#position && !this.#before);
    if (payload.recovered !== true) this.#position = positionIn(payload);
    this.#before = true;
    this.declared = payload.events;
    this.#snapshots ||= "snapshot" in payload;
    let rest = this.handles.size;
    for (const handle of this.handles) {
      // Each handler may change its own copy.
      const snapshot = "snapshot" in payload && { snapshot: --rest ? structuredClone(payload.snapshot) : payload.snapshot };
      handle.joined({ topic, position: this.#position, recovered, ...snapshot });
    }
    this.presenceNews(payload);
    this.#host.calls.flush();
  }

  event({ name, offset, stamp, payload }: Event): void {
    this.#host.dispatch.post(() => {
      const seen = this.#position;
      if (!this.#listening || (offset !== undefined && seen && offset <= seen.offset)) return;
      // It came after the last one has left, and before the server hears of that: the next join has to bring it.
      this.#stale = !this.wanted;
      if (this.#stale) return;
      const listeners = [...this.handles].flatMap((handle) => handle.listeners(name));
      let rest = listeners.length;
      for (const { call } of listeners) {
        attempt(() => {
          const own = --rest ? structuredClone(payload) : payload;
          call(own, { name, payload: own, topic: this.#canonical, offset });
        });
      }
      // Handlers may have left the topic, or lost it; what they saw, they saw.
      if (offset !== undefined && seen && this.#position === seen) this.#position = position(seen.epoch, offset, stamp);
    });
  }

  presenceNews(news: PresenceNews): void {
    if (this.#listening) this.#changed(this.#members.take(news));
  }

  reset({ payload: { reason, ...payload } }: Reset): void {
    if (!this.#listening) return;
    this.#position = positionIn(payload);
    if (this.#snapshots) this.#restart(undefined);
    for (const handle of this.handles) handle.reset({ reason, position: this.#position });
    this.sync();
  }

  /** It is over: by the server, or because the whole client is closed. */
  end(status: "refused" | "left", error: LiveError): void {
    for (const handle of this.handles) handle.end(status, error);
    this.handles.clear();
    this.#shared = undefined;
    this.#clearRetry();
    this.#members.clear();
  }

  /** The server ended it: for good, or because it could not find out whether the right to it still holds. */
  ended(error: LiveError): void {
    this.#out();
    if (!error.retry || !this.wanted) {
      this.end("left", error);
      return;
    }
    this.#syncLater(error);
  }

  // ── the two requests ───────────────────────────────────────────────────────────────────────────

  get #listening(): boolean {
    return this.#wire === "in" && !this.#stale;
  }

  /** Leave, and join again from another position; without one the join brings a snapshot. */
  #restart(since: Position | undefined): void {
    this.#position = since;
    this.#stale = this.#wire === "in" || this.#wire === "joining";
  }

  #changed(change: PresenceChange | undefined): void {
    if (change) for (const handle of this.handles) handle.changed(change);
  }

  #join(connection: Connection): void {
    const since = this.#position;
    this.#wire = "joining";
    this.#stale = false;
    connection.request({ type: "join", topic: this.name, payload: since && { since } }, (answer) => {
      if (this.#wire !== "joining") return; // the answer to another one's join was ours as well
      if (answer.type === "joined") {
        this.#joined(answer);
      } else if (answer.type === "error") {
        const [other] = this.#host.others(this, answer.topic ?? this.name);
        if (answer.payload.code === "already_joined" && other) {
          other.#adopt(this);
          other.sync();
        } else {
          this.#notJoined(errorFrom(answer.payload));
        }
      }
    });
  }

  #notJoined(error: LiveError): void {
    this.#out();
    if (!this.wanted) return;
    if (error.retry) this.#syncLater(error);
    else this.end("refused", error);
  }

  /** Handles that came while the topic was joined already. */
  #welcomeLate(): void {
    const late = [...this.handles].filter(({ state }) => state.status === "joining");
    if (!late.length || this.#stale) return;
    if (this.#snapshots) {
      this.#restart(undefined); // what they need is the state as it is now, and only the server has that
      return;
    }
    for (const handle of late) {
      handle.joined({ topic: this.#canonical, position: this.#position, recovered: true });
      handle.changed({ joined: [], left: [] });
    }
    this.#host.calls.flush();
  }

  #leave(connection: Connection): void {
    this.#wire = "leaving";
    connection.request({ type: "leave", topic: this.#canonical }, (answer) => {
      if (this.#wire !== "leaving") return; // the server had ended it before, and it may be joined again by now
      const error = answer.type === "error" ? errorFrom(answer.payload) : undefined;
      if (error?.retry) {
        this.#wire = "in";
        this.#stale = true; // events may have been passed over, should it be wanted again
        this.#syncLater(error);
        return;
      }
      // `not_joined` is as good: it is not there any more.
      this.#out();
      this.sync();
    });
  }

  #out(): void {
    this.#wire = "out";
    this.#stale = false;
    for (const handle of this.handles) handle.interrupted();
    if (!this.wanted) this.#members.clear();
  }

  #syncLater({ retryAfter = 0 }: LiveError): void {
    this.#clearRetry();
    this.#retry = this.#host.clock.after(retryAfter * 1_000 + this.#backoff.next(), () => {
      this.#retry = undefined;
      this.sync();
    });
  }

  #clearRetry(): void {
    this.#retry?.();
    this.#retry = undefined;
  }
}

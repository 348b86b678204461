import type { Backoff } from "./backoff.js";
import type { Calls } from "./calls.js";
import type { Cancel, Clock } from "./clock.js";
import type { Connection } from "./connection.js";
import { Emitter, type Off } from "./emitter.js";
import { errorFrom, LiveError } from "./errors.js";
import { Json, type Event, type Joined, type PresenceNews, type Reset } from "./frames.js";
import { position, positionIn, type Position } from "./position.js";
import { MemberList } from "./presence.js";
import { Ready } from "./ready.js";
import type { CallOptions, EventHandler, EventInfo, JoinedInfo, Topic, TopicLifecycle, TopicStatus } from "./topic.js";

/** What a subscription needs of the live connection around it. */
export interface SubscriptionHost {
  readonly calls: Calls;
  readonly clock: Clock;
  backoff(): Backoff;
  /** The connection, when it can be used. */
  connection(): Connection | undefined;
  /** Whether this topic's place on the connection is still taken by a predecessor that is leaving. */
  occupied(by: Subscription): boolean;
  /** The server's answer to one join counts for all that stand for the same topic. */
  joined(frame: Joined): void;
  /** Another object that stands for the topic of this canonical name, is wanted and joined. */
  twin(of: Subscription, canonical: string): Subscription | undefined;
  forget(subscription: Subscription): void;
}

/** What the server knows of the subscription on the present connection. */
type Wire = "out" | "joining" | "in" | "leaving";

/** A topic on the wire. What is wanted and what the server knows are kept apart; `sync` brings them together. */
export class Subscription implements Topic {
  readonly name: string;
  readonly lifecycle = new Emitter<TopicLifecycle>();
  readonly presence = new MemberList();
  readonly #host: SubscriptionHost;
  readonly #backoff: Backoff;
  readonly #events = new Emitter<Record<string, [payload: unknown, info: EventInfo]>>();
  readonly #ready = new Ready<JoinedInfo>();
  #canonical: string;
  #status: TopicStatus = "joining";
  #wire: Wire = "out";
  #position: Position | undefined;
  #before = false;
  #snapshots = false;
  #stale = false;
  #retry: Cancel | undefined;

  constructor(name: string, since: Position | undefined, host: SubscriptionHost) {
    this.name = this.#canonical = name;
    this.#position = since;
    this.#host = host;
    this.#backoff = host.backoff();
  }

  get status(): TopicStatus {
    return this.#status;
  }

  get position(): Position | undefined {
    return this.#position;
  }

  get ready(): Promise<JoinedInfo> {
    return this.#ready.promise;
  }

  get canonical(): string {
    return this.#canonical;
  }

  get wanted(): boolean {
    return this.#status === "joining" || this.#status === "joined";
  }

  /** Where calls go to; undefined while there is nowhere. */
  get address(): string | undefined {
    return this.#wire === "in" && !this.#stale ? this.#canonical : undefined;
  }

  on(name: string, handler: EventHandler<unknown>): Off {
    return this.#events.on(name, handler);
  }

  async call<Value>(name: string, payload?: object, options: CallOptions = {}): Promise<Value> {
    if (this.#ready.error) throw this.#ready.error;
    return (await this.#host.calls.make(this, name, payload, options)) as Value;
  }

  send(name: string, payload?: object): void {
    const topic = this.address;
    if (topic === undefined) return;
    this.#host.connection()?.send({ type: "call", topic, name, ...(payload && { payload: new Json(payload) }) });
  }

  leave(): void {
    this.end("left");
  }

  // ── what the connection tells ──────────────────────────────────────────────────────────────────

  /** Do the next thing that brings what the server knows nearer to what is wanted. */
  sync(): void {
    const connection = this.#host.connection();
    if (!connection) {
      if (!this.wanted) this.#host.forget(this);
    } else if (this.#retry) {
      return; // what is to be done next has been put off
    } else if (this.#wire === "out") {
      if (!this.wanted) this.#host.forget(this);
      else if (!this.#host.occupied(this)) this.#join(connection);
    } else if (this.#wire === "in" && (this.#stale || !this.wanted)) {
      if (!this.wanted && this.#host.twin(this, this.#canonical)) this.#host.forget(this);
      else this.#leave(connection);
    }
  }

  interrupted(): void {
    this.#wire = "out";
    this.#stale = false;
    this.#clearRetry();
    this.#backoff.reset();
    if (this.#status === "joined") this.#status = "joining";
    if (!this.wanted) this.#host.forget(this);
  }

  /** Another user: a name that stands for the user now means another topic, with a log of its own. */
  userChanged(): void {
    if (this.#canonical === this.name) return;
    this.#canonical = this.name;
    this.#position = undefined;
    this.presence.clear();
  }

  joined({ topic, payload }: Joined): void {
    if (this.#wire !== "joining") return;
    this.#wire = "in";
    this.#canonical = topic;
    this.#backoff.reset();
    if (!this.wanted) {
      this.sync();
      return;
    }
    const asked = this.#position;
    const again = this.#before;
    if (payload.recovered !== true) this.#position = positionIn(payload);
    this.#before = true;
    this.#status = "joined";
    const info: JoinedInfo = {
      topic,
      position: this.#position,
      recovered: payload.recovered ?? (!again && !asked),
      again,
      ...("snapshot" in payload && { snapshot: payload.snapshot }),
    };
    this.#snapshots ||= "snapshot" in info;
    this.#ready.resolve(info);
    this.lifecycle.emit("joined", info);
    this.presenceNews(payload);
    this.#host.calls.flush();
  }

  event({ name, offset, stamp, payload }: Event): void {
    if (this.#status !== "joined" || this.#stale) return;
    const seen = this.#position;
    if (offset !== undefined && seen && offset <= seen.offset) return; // seen already
    const info: EventInfo = { name, topic: this.#canonical, offset };
    this.#events.emit(name, payload, info);
    this.#events.emit("*", payload, info);
    // Handlers may have left the topic, or lost it; what they saw, they saw.
    if (offset !== undefined && seen) this.#position = position(seen.epoch, offset, stamp);
  }

  presenceNews(news: PresenceNews): void {
    if (this.#status === "joined" && !this.#stale) this.presence.take(news);
  }

  reset({ payload }: Reset): void {
    if (this.#status !== "joined" || this.#stale) return;
    this.#position = positionIn(payload);
    if (this.#snapshots) {
      this.#stale = true;
      this.#position = undefined; // without `since` the next join brings a snapshot
    }
    this.lifecycle.emit("reset", { reason: payload.reason, position: this.#position });
    this.sync();
  }

  /** It is over: by the caller, by the server, or because the whole client is closed. */
  end(status: "refused" | "left", error?: LiveError): void {
    if (!this.wanted) return;
    this.#status = status;
    this.#clearRetry();
    this.presence.clear();
    const reason = error ?? new LiveError("left");
    this.#ready.reject(reason);
    this.#host.calls.reject(reason, this);
    if (status === "refused") this.lifecycle.emit("refused", { error: reason });
    else this.lifecycle.emit("left", { error });
    this.sync();
  }

  /** The server ended it: for good, or because it could not find out whether the right to it still holds. */
  ended(error: LiveError): void {
    this.#wire = "out";
    if (!error.retry || !this.wanted) {
      this.end("left", error);
      return;
    }
    this.#stale = false;
    this.#status = "joining";
    this.#clearRetry();
    this.#syncLater(error);
  }

  /** The connection will not come back by itself: nobody should wait for it. */
  suspended(error: LiveError): void {
    this.#ready.reject(error);
  }

  /** There is hope again. */
  resumed(): void {
    this.#ready.renew();
  }

  // ── the two requests ───────────────────────────────────────────────────────────────────────────

  #join(connection: Connection): void {
    const since = this.#position;
    this.#wire = "joining";
    connection.request({ type: "join", topic: this.name, ...(since && { payload: { since } }) }, (answer) => {
      if (this.#wire !== "joining") return; // a twin's answer was ours as well
      if (answer.type === "joined") {
        this.joined(answer);
        this.#host.joined(answer);
      } else if (answer.type === "error") {
        const twin = this.#host.twin(this, answer.topic ?? this.name);
        if (answer.payload.code === "already_joined" && twin) this.#joinTwin(twin, answer.ref ?? 0);
        else this.#notJoined(errorFrom(answer.payload));
      }
    });
  }

  #joinTwin({ canonical, position, presence }: Subscription, ref: number): void {
    this.joined({ type: "joined", ref, topic: canonical, payload: { ...position, ...presence.known } });
  }

  #notJoined(error: LiveError): void {
    this.#wire = "out";
    if (!this.wanted) {
      this.sync();
      return;
    }
    if (!error.retry) {
      this.end("refused", error);
      return;
    }
    this.#syncLater(error);
  }

  #leave(connection: Connection): void {
    this.#wire = "leaving";
    connection.request({ type: "leave", topic: this.#canonical }, (answer) => {
      const error = answer.type === "error" ? errorFrom(answer.payload) : undefined;
      if (error?.retry) {
        this.#wire = "in";
        this.#syncLater(error);
        return;
      }
      // `not_joined` is as good: it is not there any more.
      this.#wire = "out";
      this.#stale = false;
      if (this.#status === "joined") this.#status = "joining";
      this.sync();
    });
  }

  #syncLater({ retryAfter = 0 }: LiveError): void {
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

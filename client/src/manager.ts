import { Backoff, type BackoffOptions } from "./backoff.js";
import { Calls } from "./calls.js";
import type { Cancel, Clock } from "./clock.js";
import { Connection, type ConnectionSettings } from "./connection.js";
import { Dispatch } from "./dispatch.js";
import { Emitter, type Off, type OnOptions } from "./emitter.js";
import { errorFrom, LiveError } from "./errors.js";
import type { ServerFrame } from "./frames.js";
import type { Handle } from "./handle.js";
import type { LiveEvents, LiveState, LiveStatus, StatusDetail, TransportName } from "./live.js";
import type { Position } from "./position.js";
import { publish } from "./store.js";
import type { LeaseOptions, TopicOptions } from "./topic.js";
import type { OpenTransport } from "./transport.js";
import { Topics } from "./topics.js";
import { onWake, type WakeSource } from "./wake.js";

export interface ManagerSettings extends ConnectionSettings {
  readonly random: () => number;
  readonly backoff: Partial<BackoffOptions>;
  readonly maxCalls: number;
  readonly page: WakeSource;
  /** The transport of the next connection, after so many failures in a row. */
  carrier(failures: number): OpenTransport | Promise<OpenTransport>;
  /** The page's cursor for a topic, if it has not been used yet. */
  readonly cursor: (topic: string) => Position | undefined;
}

/** A connection that has lasted so many milliseconds ends a row of failures. */
const STABLE = 10_000;

/** A client that was never online warns on the console after so many failures, once: a mistake in the set-up is likely. */
const ROW = 2;

/** Keeps one connection after another, and notifies topics and calls when there is one. */
export class Manager {
  readonly client: string;
  readonly #settings: ManagerSettings;
  readonly #clock: Clock;
  readonly #dispatch = new Dispatch();
  readonly #events = new Emitter<LiveEvents>(this.#dispatch);
  readonly #refreshes = new Set<(error: LiveError) => void>();
  readonly #backoff: Backoff;
  readonly #calls: Calls;
  readonly #topics: Topics;
  #state: LiveState = Object.freeze({ status: "idle", user: undefined });
  #connection: Connection | undefined;
  #onlineSince = 0;
  #done = false;
  #wait: { readonly cancel: Cancel; readonly ends: number; readonly asked: boolean; readonly error: LiveError } | undefined;
  #stopWaking: Cancel | undefined;

  constructor(settings: ManagerSettings) {
    const { client, clock, random } = settings;
    const backoff = (): Backoff => new Backoff(settings.backoff, random);
    const connection = (): Connection | undefined => this.#usable;
    this.client = client;
    this.#settings = settings;
    this.#clock = clock;
    this.#backoff = backoff();
    this.#calls = new Calls({ client, clock, random, limit: settings.maxCalls, connection });
    const settle = this.#dispatch.wrap(() => {
      this.#settle();
    });
    const { cursor } = settings;
    this.#topics = new Topics({ calls: this.#calls, clock, dispatch: this.#dispatch, connection, backoff, cursor, settle });
    publish(this);
  }

  get status(): LiveStatus {
    return this.state.status;
  }

  get user(): string | null | undefined {
    return this.state.user;
  }

  get state(): LiveState {
    return this.#state;
  }

  /** By `close()`. */
  get closed(): boolean {
    return this.#done;
  }

  on<Name extends keyof LiveEvents>(name: Name, handler: (...args: LiveEvents[Name]) => void, options?: OnOptions): Off {
    return this.#events.on(name, handler, options);
  }

  subscribe(listener: () => void): Off {
    return this.#events.on("status", listener);
  }

  topic(name: string, options: TopicOptions = {}): Handle {
    this.#checkOpen();
    return this.#topics.shared(name, options);
  }

  lease(name: string, options: LeaseOptions = {}): Handle {
    this.#checkOpen();
    return this.#topics.lease(name, options);
  }

  async refresh(token: string): Promise<void> {
    const connection = this.#usable;
    if (!connection) throw new LiveError("connection_lost"); // the next attempt asks for the token anyway
    await new Promise<void>((resolve, reject) => {
      this.#refreshes.add(reject);
      connection.request({ type: "refresh", payload: { token } }, (answer) => {
        this.#refreshes.delete(reject);
        if (answer.type === "error") reject(errorFrom(answer.payload));
        else {
          if (this.#fixed) this.#settings.token = token;
          resolve();
        }
      });
    });
  }

  reconnect(): void {
    this.#checkOpen();
    this.#dispatch.run(() => {
      this.#connection?.close();
      this.#interrupted(new LiveError("connection_lost"));
      this.#topics.suspend(undefined);
      this.#connect();
    });
  }

  close(): void {
    if (this.#done) return;
    this.#done = true;
    this.#dispatch.run(() => {
      this.#connection?.close();
      const error = new LiveError("closed");
      this.#interrupted(error);
      this.#stop(error);
      this.#topics.end(error);
    });
  }

  #checkOpen(): void {
    if (this.#done) throw new LiveError("closed");
  }

  /** A token that is a text does not become newer by itself. */
  get #fixed(): boolean {
    return typeof this.#settings.token === "string";
  }

  // ── attempts ───────────────────────────────────────────────────────────────────────────────────

  get #usable(): Connection | undefined {
    return this.status === "online" ? this.#connection : undefined;
  }

  #settle(): void {
    if (this.status === "idle" && this.#topics.wanted) this.#connect();
    this.#topics.sync();
  }

  #connect(): void {
    this.#wait?.cancel();
    this.#wait = undefined;
    this.#stopWaking ??= onWake(this.#settings.page, () => {
      this.#wake();
    });
    this.#connection = new Connection(this.#settings, {
      carrier: () => this.#settings.carrier(this.#backoff.attempt),
      wrap: (change) => this.#dispatch.wrap(change),
      welcomed: ({ user }, transport) => {
        this.#welcomed(user, transport);
      },
      received: (frame) => {
        this.#received(frame);
      },
      ended: this.#dispatch.wrap((error, final, after) => {
        this.#ended(error, final, after);
      }),
    });
    this.#setStatus("connecting");
  }

  #welcomed(user: string | null, transport: TransportName | undefined): void {
    const before = this.user;
    if (before !== undefined && before !== user) {
      // Calls of one user must not be carried out in the name of another.
      this.#calls.reject(new LiveError("user_changed"));
      this.#topics.userChanged();
    }
    this.#onlineSince = this.#clock.now();
    this.#setStatus("online", { transport }, user);
    // After the handlers: one of them may close the client.
    this.#dispatch.post(() => {
      this.#topics.sync();
    });
  }

  #received(frame: ServerFrame): void {
    // A pong has done its work by arriving; this client ignores message types of newer servers.
    if (frame.type === "error") this.#complained(errorFrom(frame.payload), frame.ref);
    else this.#topics.received(frame);
  }

  /** An error that answers nothing that still waits. */
  #complained(error: LiveError, ref: number | undefined): void {
    if (ref === undefined && !error.retry) this.#calls.unread(error);
    this.#events.emit("error", error);
  }

  #ended(error: LiveError, final: boolean, after: number): void {
    if (this.#usable && this.#clock.now() - this.#onlineSince >= STABLE) this.#backoff.reset();
    if (this.user === undefined && (final || this.#backoff.attempt === ROW)) {
      console.warn("Holdfast: cannot connect. Check URL, asgi.py, ORIGINS", error);
    }
    final ||= error.code === "token_expired" && this.#fixed;
    this.#interrupted(error);
    if (final) {
      this.#topics.suspend(error);
      this.#stop(error);
    } else {
      // A server that keeps asking for a short wait must not get faster attempts than one that asks for none.
      const wait = Math.max(after, this.#backoff.next());
      this.#waitFor(wait, wait === after, error);
    }
  }

  /** The connection is gone: requests that were under way on it get no answer. */
  #interrupted(error: LiveError): void {
    this.#wait?.cancel();
    this.#wait = this.#connection = undefined;
    this.#calls.interrupted(error.code === "too_large" ? error : undefined);
    this.#topics.interrupted();
    for (const reject of this.#refreshes) reject(error);
    this.#refreshes.clear();
  }

  #waitFor(ms: number, asked: boolean, error: LiveError): void {
    const ends = this.#clock.now() + ms;
    const cancel = this.#clock.after(ms, () => {
      this.#connect();
    });
    this.#wait = { cancel, ends, asked, error };
    this.#setStatus("waiting", { error, retryIn: ms, retryAt: ends });
  }

  #stop(error: LiveError): void {
    this.#stopWaking?.();
    this.#stopWaking = undefined;
    this.#calls.reject(error);
    this.#setStatus("closed", { error });
  }

  /** Something suggests that an attempt would succeed now, or that the connection may have died unnoticed. */
  #wake(): void {
    this.#usable?.probe();
    const wait = this.#wait;
    if (!wait) return;
    const left = wait.ends - this.#clock.now();
    const soon = this.#backoff.soon();
    if (left <= 0) {
      // It ended in sleep, through which timers stand still.
      this.#connect();
    } else if (!wait.asked && soon < left) {
      // How long the server asked to wait is not ours to shorten.
      wait.cancel();
      this.#waitFor(soon, false, wait.error);
    }
  }

  #setStatus(status: LiveStatus, detail: StatusDetail = {}, user = this.user): void {
    this.#state = Object.freeze({ status, user, ...detail });
    this.#events.emit("status", status, detail);
  }
}

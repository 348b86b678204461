import type { BackoffOptions } from "./backoff.js";
import type { Clock } from "./clock.js";
import type { Asked } from "./connection.js";
import type { Off, OnOptions } from "./emitter.js";
import type { LiveError } from "./errors.js";
import type { WebSocketConstructor } from "./socket.js";
import type { Store } from "./store.js";
import type { KnownName, LeaseOptions, NameFor, Topic, TopicOptions, TopicTypes, TypesOf } from "./topic.js";
import type { WakeSource } from "./wake.js";

/**
 * - `idle`: nothing has been asked for yet;
 * - `connecting`: an attempt is under way;
 * - `online`: the server has welcomed us;
 * - `waiting`: until the next attempt;
 * - `closed`: by `close()`, or by the server for good; `reconnect()` opens it again after the latter.
 */
export type LiveStatus = "idle" | "connecting" | "online" | "waiting" | "closed";

/** WebSocket, server-sent events with calls by POST, or long polling. */
export type TransportName = "websocket" | "sse" | "polling";

export interface StatusDetail {
  /** The transport of the connection, with `online`. */
  readonly transport?: TransportName | undefined;
  /** Why the last connection ended, with `waiting` and `closed`. */
  readonly error?: LiveError;
  /** With `waiting`: milliseconds until the next attempt. */
  readonly retryIn?: number;
  /** With `waiting`: the time of the next attempt, as `Date.now()` counts. */
  readonly retryAt?: number;
}

export interface LiveState extends StatusDetail {
  readonly status: LiveStatus;
  /** The user's id; null when anonymous, undefined before the first welcome. */
  readonly user: string | null | undefined;
}

export interface LiveEvents {
  status: [status: LiveStatus, detail: StatusDetail];
  /** The server complained about a message that awaits no answer (`send`). */
  error: [error: LiveError];
}

export interface ConnectOptions {
  /**
   * Where the server is: relative to the page or absolute, `http` and `ws` alike. A function is asked at every
   * attempt. Default: what the page says (`{% live_script %}`), else `/live/ws`.
   */
  readonly url?: Asked<string> | undefined;
  /**
   * Share the connection with all who connect to the same URL with options like these: default on a page. Elsewhere,
   * and with `false`, each call makes a connection.
   */
  readonly shared?: boolean | undefined;
  /**
   * For servers that authenticate by token instead of by cookie. A function is asked at every attempt. When a text has expired,
   * the client stays `closed` with code `token_expired`, unless `refresh()` gave it a newer one before.
   */
  readonly token?: Asked<string | undefined> | undefined;
  /**
   * What may carry the connection, the best first; default: all three. The client takes the first that gets through, and
   * goes back to a better one when that gets through again. With `WebSocket` the default is `["websocket"]`.
   */
  readonly transports?: readonly TransportName[] | undefined;
  /** Log all messages between client and server on the console, without tokens. `localStorage.holdfast = "debug"` does the same. */
  readonly debug?: boolean | undefined;
  /** Subprotocols offered besides Holdfast's own. */
  readonly protocols?: readonly string[] | undefined;
  /** How many calls may wait for an answer before more are rejected with code `queue_full`; default 1,000. */
  readonly maxCalls?: number | undefined;
  /** Milliseconds that an attempt may take; default 10,000. */
  readonly connectTimeout?: number | undefined;
  /** Milliseconds; default `{ base: 1_000, cap: 30_000 }`. */
  readonly backoff?: Partial<BackoffOptions> | undefined;
  /** Other implementations than the browser's, for Node and for tests. */
  readonly fetch?: typeof fetch | undefined;
  readonly WebSocket?: WebSocketConstructor | undefined;
  readonly clock?: Clock | undefined;
  /** From 0 up to 1, as `Math.random`. */
  readonly random?: (() => number) | undefined;
  /** The target whose events hurry a reconnection; default: the page's. */
  readonly page?: WakeSource | undefined;
}

/** One connection to the server, kept for as long as the page lives, with any number of topics on it. */
export interface Live extends Store<LiveState> {
  /** This client's name for as long as the page lives: random, 128 bits. */
  readonly client: string;
  readonly status: LiveStatus;
  /** The user's id; null when anonymous, undefined before the first welcome. */
  readonly user: string | null | undefined;

  on<Name extends keyof LiveEvents>(
    name: Name,
    handler: (...args: LiveEvents[Name]) => void,
    options?: OnOptions,
  ): Off;

  /**
   * The topic of this name: joined as soon as the caller has finished, the same object until it is left. Connects if
   * need be.
   */
  topic<Name extends KnownName>(name: Name, options?: TopicOptions): Topic<TypesOf<Name>>;
  topic<Types extends TopicTypes = TopicTypes>(name: NameFor<Types>, options?: TopicOptions): Topic<Types>;

  /**
   * The topic of this name for one part of the page: with handlers, state and calls of its own, which end when it is
   * left. The topic itself is left when the last one who has it has left. A lease that is left and taken again in the
   * same turn does not leave at all.
   */
  lease<Name extends KnownName>(name: Name, options?: LeaseOptions): Topic<TypesOf<Name>>;
  lease<Types extends TopicTypes = TopicTypes>(name: NameFor<Types>, options?: LeaseOptions): Topic<Types>;

  /**
   * Give the server a newer token of the same user. Rejected with code `invalid_token` when it is not. It replaces a `token` that
   * was given as a text.
   */
  refresh(token: string): Promise<void>;

  /** Connect again now: while waiting, online, or after the server closed for good. */
  readonly reconnect: () => void;

  /** End it: topics are left, pending calls rejected with code `closed`. */
  readonly close: () => void;
}

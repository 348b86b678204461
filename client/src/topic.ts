import type { Off, OnOptions } from "./emitter.js";
import type { LiveError } from "./errors.js";
import type { ResetReason } from "./frames.js";
import type { Position } from "./position.js";
import type { Presence } from "./presence.js";
import type { Store } from "./store.js";

/**
 * - `joining`: asked for, or about to be; also while the connection is away;
 * - `joined`: events come;
 * - `refused`: the server does not let us in;
 * - `left`: over, by `leave()`, by the server or by `close()`.
 */
export type TopicStatus = "joining" | "joined" | "refused" | "left";

// ── what a topic carries ─────────────────────────────────────────────────────────────────────────

/**
 * The types of one topic, all of them optional:
 *
 *     interface Room {
 *       events: { "message.posted": { id: number; body: string } };
 *       actions: { post(payload: { body: string }): number };
 *       meta: { name: string };                       // what `presence_meta` returns
 *       snapshot: { title: string };
 *     }
 *     const room = live.topic<Room>("rooms/lobby");
 */
export interface TopicTypes {
  /** The names that topics of these types have. */
  readonly name?: string;
  /** Payloads by the name of the event. */
  readonly events?: object;
  /** Functions by the name of the action: from the payload to the result. */
  readonly actions?: object;
  readonly meta?: unknown;
  readonly snapshot?: unknown;
}

/**
 * The topics of your server, by their routes: empty until a declaration adds them. `manage.py holdfast schema --format
 * typescript` writes that declaration, and `live.topic("rooms/lobby")` then has the types of its topic.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- declarations add to it
export interface Topics {}

/** With `strict: true` in it, the name of a topic that no route of `Topics` has is an error. `--strict` writes that. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- declarations add to it
export interface TopicNames {}

type NameAt<Route extends keyof Topics> = Topics[Route] extends { readonly name: infer Name extends string } ? Name : never;

/** The names that the routes of `Topics` have. */
export type KnownName = { [Route in keyof Topics]: NameAt<Route> }[keyof Topics];

/** The names for a topic of these types. Without types of your own, `strict` allows none but the known ones. */
export type NameFor<Types extends TopicTypes> = TopicTypes extends Types
  ? TopicNames extends { readonly strict: true }
    ? "the server has no topic of this name"
    : string
  : string;

type RoutesFor<Name> = { [Route in keyof Topics]: Name extends NameAt<Route> ? Route : never }[keyof Topics];

/** Of the routes that match a name those that no other one narrows: `rooms/${string}/pins`, not `rooms/${string}`. */
type Closest<Route, All = Route> = Route extends keyof Topics
  ? [All extends keyof Topics ? Narrower<All, Route> : never] extends [never]
    ? Route
    : never
  : never;
type Narrower<Other extends keyof Topics, Route extends keyof Topics> =
  NameAt<Other> extends NameAt<Route> ? (NameAt<Route> extends NameAt<Other> ? never : Other) : never;

/** The types of the topic that has this name. */
export type TypesOf<Name extends string> = Name extends unknown ? Extract<Topics[Closest<RoutesFor<Name>>], TopicTypes> : never;

export type EventsOf<T extends TopicTypes> = T extends { readonly events: infer Events extends object }
  ? Events
  : Record<string, unknown>;
export type ActionsOf<T extends TopicTypes> = T extends { readonly actions: infer Actions extends object }
  ? Actions
  : Record<string, (payload?: object) => unknown>;
export type MetaOf<T extends TopicTypes> = T extends { readonly meta: infer Meta } ? Meta : unknown;
export type SnapshotOf<T extends TopicTypes> = T extends { readonly snapshot: infer Snapshot } ? Snapshot : unknown;

/** What follows the name in `call` and `send`. An action without a payload takes none, or an empty one. */
export type PayloadOf<Action> = Action extends (...args: infer Payload) => unknown
  ? Payload extends []
    ? [payload?: Record<string, never> | undefined]
    : Payload
  : never;
export type ResultOf<Action> = Action extends (...args: never) => infer Result ? Awaited<Result> : never;

// ── what handlers get ────────────────────────────────────────────────────────────────────────────

/** One event. Handlers of `"*"` narrow `payload` by `name`. */
export interface EventInfo<Name extends string = string, Payload = unknown> {
  readonly name: Name;
  readonly payload: Payload;
  /** The topic's canonical name. */
  readonly topic: string;
  /** Where the event stands in the topic's log; undefined for an ephemeral event. */
  readonly offset: number | undefined;
}

/** One of these events. */
export type AnyEvent<Events> = { [Name in keyof Events & string]: EventInfo<Name, Events[Name]> }[keyof Events & string];

export type EventHandler<Payload, Info = EventInfo<string, Payload>> = (payload: Payload, info: Info) => void;

export interface JoinedInfo<Snapshot = unknown> {
  /** The topic's canonical name. */
  readonly topic: string;
  /** The position after which the stream goes on; undefined on an ephemeral topic. */
  readonly position: Position | undefined;
  /** False when events may have been missed between the last one seen (or `since`) and now. */
  readonly recovered: boolean;
  /** Whether it had been joined before, on an earlier connection or before a fresh snapshot was fetched. */
  readonly again: boolean;
  /** The topic's state at `position`: there when the topic offers one and the stream was not continued. */
  readonly snapshot?: Snapshot;
}

export interface ResetInfo {
  /** Why events were missed; `joined` with a fresh snapshot follows if the topic offers one. */
  readonly reason: ResetReason;
  readonly position: Position | undefined;
}

export interface EndedInfo {
  /** Why; undefined when it was by `leave()`. */
  readonly error: LiveError | undefined;
}

export interface RefusedInfo {
  readonly error: LiveError;
}

export interface TopicLifecycle<Snapshot = unknown> {
  joined: [info: JoinedInfo<Snapshot>];
  reset: [info: ResetInfo];
  left: [info: EndedInfo];
  refused: [info: RefusedInfo];
}

export interface TopicState<Snapshot = unknown> {
  readonly status: TopicStatus;
  /** What the last join brought; undefined before the first one. */
  readonly joined: JoinedInfo<Snapshot> | undefined;
  /** Why it was refused or ended, or why the connection is closed. */
  readonly error: LiveError | undefined;
}

// ── options ──────────────────────────────────────────────────────────────────────────────────────

export interface TopicOptions {
  /**
   * Go on after this position. Default: the page's cursor for the topic, then the last position that this page saw
   * of it. `null`: start now.
   */
  readonly since?: Position | null | undefined;
}

export interface LeaseOptions extends TopicOptions {
  /** Leaves when aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface CallOptions {
  /** Milliseconds until it is given up with code `timeout`, counted from the call; default: never. */
  readonly timeout?: number | undefined;
  /** Gives it up when aborted, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Default: a key of this client. One of your own makes a call once even across page loads. */
  readonly key?: string | undefined;
}

// ── the topic ────────────────────────────────────────────────────────────────────────────────────

/** One topic, joined for as long as it is wanted, over as many connections as that takes. */
export interface Topic<Types extends TopicTypes = TopicTypes> extends Store<TopicState<SnapshotOf<Types>>> {
  /** The name it was asked for by. */
  readonly name: string;
  readonly status: TopicStatus;
  /** Up to where events have been handled; undefined when not known yet and on ephemeral topics. */
  readonly position: Position | undefined;
  /** Settles at the first join: rejected with a LiveError when there will be none. */
  readonly ready: Promise<JoinedInfo<SnapshotOf<Types>>>;
  readonly lifecycle: Lifecycle<SnapshotOf<Types>>;
  /** The members, on topics with presence. */
  readonly presence: Presence<MetaOf<Types>>;

  /**
   * Handle events of one name, or of all (`"*"`). On a durable topic handlers see every event once and in order;
   * the position moves on when the handlers of an event have returned, and also when one throws. Each handler has a
   * payload of its own.
   */
  on<Name extends keyof EventsOf<Types> & string>(
    name: Name,
    handler: EventHandler<EventsOf<Types>[Name], EventInfo<Name, EventsOf<Types>[Name]>>,
    options?: OnOptions,
  ): Off;
  on(
    name: "*",
    handler: EventHandler<EventsOf<Types>[keyof EventsOf<Types>], AnyEvent<EventsOf<Types>>>,
    options?: OnOptions,
  ): Off;

  /**
   * Run an action and get its result. It is carried out once, however often it has to be sent; made offline, it is
   * sent after reconnecting. The payload is fixed now. Rejected with a LiveError when it failed.
   */
  call<Name extends keyof ActionsOf<Types> & string>(
    name: Name,
    ...args: [...payload: PayloadOf<ActionsOf<Types>[Name]>, callOptions?: CallOptions | undefined]
  ): Promise<ResultOf<ActionsOf<Types>[Name]>>;

  /** Run an action without an answer, at most once: dropped when the topic is not joined at the moment. */
  send<Name extends keyof ActionsOf<Types> & string>(name: Name, ...payload: PayloadOf<ActionsOf<Types>[Name]>): void;

  /**
   * End it: its handlers are not called any more, its pending calls are rejected with code `left`. The server is
   * told when no other lease of the topic is there. `live.topic(name)` then makes a new one.
   */
  readonly leave: () => void;

  /** The same as `leave()`: `using room = live.lease("rooms/lobby")`. */
  [Symbol.dispose](): void;
}

export interface Lifecycle<Snapshot = unknown> {
  on<Name extends keyof TopicLifecycle>(
    name: Name,
    handler: (...args: TopicLifecycle<Snapshot>[Name]) => void,
    options?: OnOptions,
  ): Off;
}

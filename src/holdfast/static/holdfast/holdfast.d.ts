/* Holdfast, BSD-3-Clause. Built from client/ */

/// <reference lib="esnext.disposable" />

/** Milliseconds: the wait before try n is random between 0 and min(cap, base · 2^n). */
export interface BackoffOptions {
	readonly base: number;
	readonly cap: number;
}
/** Cancels what was planned; harmless when it has happened already. */
export type Cancel = () => void;
/** Time as the client sees it: milliseconds, and one way to be woken later. */
export interface Clock {
	now(): number;
	after(ms: number, run: () => void): Cancel;
}
/** Everything that can go wrong between a client and a server. */
export type CodeName = "malformed" | "invalid_message" | "unknown_type" | "too_large" | "unexpected_hello" | "forbidden" | "already_joined" | "evicted" | "outdated" | "not_joined" | "too_many_topics" | "unknown_action" | "invalid_payload" | "refused" | "not_found" | "key_reused" | "outcome_unknown" | "timeout" | "too_many_calls" | "rate_limited" | "csrf_failed" | "invalid_token" | "internal" | "unavailable" | "draining" | "heartbeat_missed" | "stalled" | "too_slow" | "token_expired" | "flooding" | "too_many_connections" | "failed" | "unsupported_protocol" | "unauthenticated" | "disconnected" | "origin_refused";
/** A place in one topic's log: everything up to and including `offset` has been seen. */
export interface Position {
	/** The life of the log. Offsets of different epochs cannot be compared. */
	readonly epoch: string;
	readonly offset: number;
	/** Tells which event was seen at `offset`, should a log that went back in time give that offset out again. */
	readonly stamp?: number;
}
/** A member of a topic. */
export interface Member<Meta = unknown> {
	/** The user's id, or one that begins with `~` for an anonymous client. */
	readonly id: string;
	/** Seconds since 1970. */
	readonly since: number;
	/** The result of the topic's `presence_meta`. */
	readonly meta?: Meta;
}
export type ResetReason = "trimmed" | "epoch" | "interrupted";
/** Codes of errors that the client itself finds; all others come from the server's catalogue. */
export type LocalCode = "closed" | "connection_lost" | "connect_timeout" | "invalid_url" | "left" | "no_websocket" | "queue_full" | "user_changed";
/** `timeout` may come from the server or the client. A newer server may send a code that is not in the list. */
export type ErrorCode = CodeName | LocalCode;
/** Texts by the name of a field. */
export type FieldErrors = Readonly<Record<string, readonly string[]>>;
export interface LiveErrorDetails {
	readonly retryAfter?: number | undefined;
	readonly reason?: string | undefined;
	readonly errors?: FieldErrors | undefined;
	readonly cause?: unknown;
}
/**
 * Why a call, a join or a connection failed. Decide by `code`. `message` is for developers: the server's sentence where it
 * sent one, else the words of the code; `textOf` of the entry `texts` has a sentence for each code.
 */
export declare class LiveError extends Error {
	readonly name = "LiveError";
	readonly code: ErrorCode;
	/** Whether the same attempt may succeed later without being changed. */
	readonly retry: boolean;
	/** How many seconds the server asks to wait first. */
	readonly retryAfter: number | undefined;
	/** The application's own reason, with codes `refused`, `evicted` and `disconnected`. */
	readonly reason: string | undefined;
	/** Errors by field, with code `invalid_payload`; errors of no single field are under `__all__`. */
	readonly errors: FieldErrors | undefined;
	constructor(code: ErrorCode | (string & Record<never, never>), message?: string, details?: LiveErrorDetails);
}
/** A value, or a function that is asked for it at every attempt to connect. */
export type Asked<Value> = Value | (() => Value | Promise<Value>);
/** Removes the handler it was returned for. */
export type Off = () => void;
export interface OnOptions {
	/** Removes the handler when aborted: one controller for all handlers of a page or a component. */
	readonly signal?: AbortSignal | undefined;
}
/** As much of a WebSocket as the client uses. */
export interface WebSocketLike {
	onopen: ((event: any) => any) | null;
	onmessage: ((event: any) => any) | null;
	onclose: ((event: any) => any) | null;
	onerror: ((event: any) => any) | null;
	send(data: string): void;
	close(code?: number): void;
}
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;
/**
 * State that user interfaces can watch: `useSyncExternalStore(store.subscribe, () => store.state)` in React,
 * `store.subscribe(() => { shallow.value = store.state })` in Vue.
 */
export interface Store<State> {
	/** The present state: a frozen object that is replaced when something in it changes, and stays the same until then. */
	readonly state: State;
	/** Call `listener` after each change of `state`. */
	readonly subscribe: (listener: () => void) => Off;
}
export interface PresenceEvents<Meta = unknown> {
	/** The members have changed: called with all of them. Also called when only their number has changed: see `count`. */
	change: [
		members: readonly Member<Meta>[]
	];
	/** A member has joined. Not called for the members of the first list. */
	joined: [
		member: Member<Meta>
	];
	/** A member is not here any more. */
	left: [
		member: Member<Meta>
	];
}
export interface PresenceState<Meta = unknown> {
	/** In the order in which they came, as far as that is known; empty where they are only counted. */
	readonly members: readonly Member<Meta>[];
	/** How many are here; undefined until that is known, and on topics without presence. */
	readonly count: number | undefined;
	/** Whether `members` is the list: false before it is known, and where there are too many to be listed. */
	readonly listed: boolean;
}
/** The members of a topic. They stay as they are while the connection is away; after that, handlers get the differences. */
export interface Presence<Meta = unknown> extends PresenceState<Meta>, Store<PresenceState<Meta>> {
	on<Name extends keyof PresenceEvents>(name: Name, handler: (...args: PresenceEvents<Meta>[Name]) => void, options?: OnOptions): Off;
}
/**
 * - `joining`: asked for, or about to be; also while the connection is away;
 * - `joined`: events come;
 * - `refused`: the server does not let us in;
 * - `left`: over, by `leave()`, by the server or by `close()`.
 */
export type TopicStatus = "joining" | "joined" | "refused" | "left";
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
export interface Topics {
}
/** With `strict: true` in it, the name of a topic that no route of `Topics` has is an error. `--strict` writes that. */
export interface TopicNames {
}
export type NameAt<Route extends keyof Topics> = Topics[Route] extends {
	readonly name: infer Name extends string;
} ? Name : never;
/** The names that the routes of `Topics` have. */
export type KnownName = {
	[Route in keyof Topics]: NameAt<Route>;
}[keyof Topics];
/** The names for a topic of these types. Without types of your own, `strict` allows none but the known ones. */
export type NameFor<Types extends TopicTypes> = TopicTypes extends Types ? TopicNames extends {
	readonly strict: true;
} ? "the server has no topic of this name" : string : string;
export type RoutesFor<Name> = {
	[Route in keyof Topics]: Name extends NameAt<Route> ? Route : never;
}[keyof Topics];
/** Of the routes that match a name those that no other one narrows: `rooms/${string}/pins`, not `rooms/${string}`. */
export type Closest<Route, All = Route> = Route extends keyof Topics ? [
	All extends keyof Topics ? Narrower<All, Route> : never
] extends [
	never
] ? Route : never : never;
export type Narrower<Other extends keyof Topics, Route extends keyof Topics> = NameAt<Other> extends NameAt<Route> ? (NameAt<Route> extends NameAt<Other> ? never : Other) : never;
/** The types of the topic that has this name. */
export type TypesOf<Name extends string> = Name extends unknown ? Extract<Topics[Closest<RoutesFor<Name>>], TopicTypes> : never;
export type EventsOf<T extends TopicTypes> = T extends {
	readonly events: infer Events extends object;
} ? Events : Record<string, unknown>;
export type ActionsOf<T extends TopicTypes> = T extends {
	readonly actions: infer Actions extends object;
} ? Actions : Record<string, (payload?: object) => unknown>;
export type MetaOf<T extends TopicTypes> = T extends {
	readonly meta: infer Meta;
} ? Meta : unknown;
export type SnapshotOf<T extends TopicTypes> = T extends {
	readonly snapshot: infer Snapshot;
} ? Snapshot : unknown;
/** What follows the name in `call` and `send`. An action without a payload takes none, or an empty one. */
export type PayloadOf<Action> = Action extends (...args: infer Payload) => unknown ? Payload extends [
] ? [
	payload?: Record<string, never> | undefined
] : Payload : never;
export type ResultOf<Action> = Action extends (...args: never) => infer Result ? Awaited<Result> : never;
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
export type AnyEvent<Events> = {
	[Name in keyof Events & string]: EventInfo<Name, Events[Name]>;
}[keyof Events & string];
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
	joined: [
		info: JoinedInfo<Snapshot>
	];
	reset: [
		info: ResetInfo
	];
	left: [
		info: EndedInfo
	];
	refused: [
		info: RefusedInfo
	];
}
export interface TopicState<Snapshot = unknown> {
	readonly status: TopicStatus;
	/** What the last join brought; undefined before the first one. */
	readonly joined: JoinedInfo<Snapshot> | undefined;
	/** Why it was refused or ended, or why the connection is closed. */
	readonly error: LiveError | undefined;
}
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
	on<Name extends keyof EventsOf<Types> & string>(name: Name, handler: EventHandler<EventsOf<Types>[Name], EventInfo<Name, EventsOf<Types>[Name]>>, options?: OnOptions): Off;
	on(name: "*", handler: EventHandler<EventsOf<Types>[keyof EventsOf<Types>], AnyEvent<EventsOf<Types>>>, options?: OnOptions): Off;
	/**
	 * Run an action and get its result. It is carried out once, however often it has to be sent; made offline, it is
	 * sent after reconnecting. The payload is fixed now. Rejected with a LiveError when it failed.
	 */
	call<Name extends keyof ActionsOf<Types> & string>(name: Name, ...args: [
		...payload: PayloadOf<ActionsOf<Types>[Name]>,
		callOptions?: CallOptions | undefined
	]): Promise<ResultOf<ActionsOf<Types>[Name]>>;
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
	on<Name extends keyof TopicLifecycle>(name: Name, handler: (...args: TopicLifecycle<Snapshot>[Name]) => void, options?: OnOptions): Off;
}
/** As much of `window` and `document` as the client listens to. React Native has a `window` without events. */
export interface WakeSource {
	readonly window?: Partial<Pick<EventTarget, "addEventListener">> | undefined;
	readonly document?: (Partial<Pick<EventTarget, "addEventListener">> & {
		readonly visibilityState: string;
	}) | undefined;
}
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
	status: [
		status: LiveStatus,
		detail: StatusDetail
	];
	/** The server complained about a message that awaits no answer (`send`). */
	error: [
		error: LiveError
	];
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
	on<Name extends keyof LiveEvents>(name: Name, handler: (...args: LiveEvents[Name]) => void, options?: OnOptions): Off;
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
/**
 * A client for the server that the page names (or `options.url`). It connects when the first topic is asked for.
 *
 * A page has one for each URL: a script that runs again, because Turbo or htmx replaced the body, gets the client that
 * is there already. What such a script adds to it, it should add with a `signal`, or to a lease.
 */
export declare function connect(options?: ConnectOptions): Live;

export {};

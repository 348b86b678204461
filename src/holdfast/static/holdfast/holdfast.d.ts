/* Holdfast client. BSD-3-Clause. Built from client/ by `npm run build`: do not edit. */

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
export type CodeName = "malformed" | "invalid_message" | "unknown_type" | "too_large" | "unexpected_hello" | "forbidden" | "already_joined" | "evicted" | "not_joined" | "too_many_topics" | "unknown_action" | "invalid_payload" | "refused" | "key_reused" | "outcome_unknown" | "timeout" | "too_many_calls" | "rate_limited" | "invalid_token" | "internal" | "unavailable" | "draining" | "heartbeat_missed" | "stalled" | "flooding" | "failed" | "unsupported_protocol" | "unauthenticated" | "disconnected";
/** A place in one topic's log: everything up to and including `offset` has been seen. */
export interface Position {
	/** The life of the log. Offsets of different epochs cannot be compared. */
	readonly epoch: string;
	readonly offset: number;
	/** Tells which event was seen at `offset`, should a log that went back in time give that offset out again. */
	readonly stamp?: number;
}
/** Somebody who is in a topic. */
export interface Member<Meta = unknown> {
	/** The user's id, or one that begins with `~` for an anonymous client. */
	readonly id: string;
	/** Seconds since 1970. */
	readonly since: number;
	/** What the topic's `presence_meta` said. */
	readonly meta?: Meta;
}
export type ResetReason = "trimmed" | "epoch" | "interrupted";
/** What the client itself finds; everything else comes from the server's catalogue. */
export type LocalCode = "closed" | "connection_lost" | "connect_timeout" | "invalid_url" | "left" | "no_websocket" | "queue_full" | "user_changed";
/** `timeout` may be the server's word or the client's. A newer server may know codes that are not in the list. */
export type ErrorCode = CodeName | LocalCode | (string & Record<never, never>);
export interface LiveErrorDetails {
	readonly retryAfter?: number | undefined;
	readonly reason?: string | undefined;
	readonly cause?: unknown;
}
/** Why a call, a join or a connection failed. Decide by `code`; `message` is for developers. */
export declare class LiveError extends Error {
	readonly name = "LiveError";
	readonly code: ErrorCode;
	/** Whether the same attempt may succeed later without being changed. */
	readonly retry: boolean;
	/** How many seconds the server asks to wait first. */
	readonly retryAfter: number | undefined;
	/** The application's own word, with codes `refused`, `evicted` and `disconnected`. */
	readonly reason: string | undefined;
	constructor(code: ErrorCode, message?: string, details?: LiveErrorDetails);
}
/** A value, or a function that is asked for it at every attempt to connect. */
export type Asked<Value> = Value | (() => Value | Promise<Value>);
/** Removes the handler it was returned for. */
export type Off = () => void;
declare class Emitter<Events extends Record<keyof Events, readonly unknown[]>> {
	#private;
	on<Name extends keyof Events>(name: Name, handler: (...args: Events[Name]) => void): Off;
	emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void;
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
export interface PresenceEvents<Meta = unknown> {
	/** Something is different: all who are here now. Also when only how many they are has changed; look at `count` then. */
	change: [
		members: readonly Member<Meta>[]
	];
	/** Somebody came who had not been here. Not for those in the first list. */
	joined: [
		member: Member<Meta>
	];
	/** Somebody is not here any more. */
	left: [
		member: Member<Meta>
	];
}
/** Who is in a topic. While the connection is away it stays as it was; after that, what is different is told. */
export interface Presence<Meta = unknown> {
	/** In the order in which they came, as far as that is known; empty where they are only counted. */
	readonly members: readonly Member<Meta>[];
	/** How many are here; undefined until that is known, and on topics without presence. */
	readonly count: number | undefined;
	/** Whether `members` is the list: false before it is known, and where there are too many to be listed. */
	readonly listed: boolean;
	on<Name extends keyof PresenceEvents>(name: Name, handler: (...args: PresenceEvents<Meta>[Name]) => void): Off;
}
/**
 * - `joining`: asked for, or about to be; also while the connection is away;
 * - `joined`: events come;
 * - `refused`: the server does not let us in;
 * - `left`: over, by `leave()`, by the server or by `close()`.
 */
export type TopicStatus = "joining" | "joined" | "refused" | "left";
/** What a handler is told about an event besides its payload. */
export interface EventInfo {
	readonly name: string;
	/** The topic's canonical name. */
	readonly topic: string;
	/** Where the event stands in the topic's log; undefined for an ephemeral event. */
	readonly offset: number | undefined;
}
export type EventHandler<Payload> = (payload: Payload, info: EventInfo) => void;
export interface JoinedInfo {
	/** The topic's canonical name. */
	readonly topic: string;
	/** The position after which the stream goes on; undefined on an ephemeral topic. */
	readonly position: Position | undefined;
	/** False when something may have been missed between what the handlers saw before (or `since`) and now. */
	readonly recovered: boolean;
	/** Whether it had been joined before, on an earlier connection or before a fresh snapshot was fetched. */
	readonly again: boolean;
	/** The topic's state at `position`: there when the topic offers one and the stream was not continued. */
	readonly snapshot?: unknown;
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
export interface TopicLifecycle {
	joined: [
		info: JoinedInfo
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
export interface TopicOptions {
	/** Go on after this position. Default: the page's cursor for the topic. `null`: start now. */
	readonly since?: Position | null;
}
export interface CallOptions {
	/** Milliseconds until it is given up with code `timeout`, counted from the call; default: never. */
	readonly timeout?: number;
	/** Gives it up when aborted, with the signal's reason. */
	readonly signal?: AbortSignal;
	/** Default: a key of this client. One of your own makes a call once even across page loads. */
	readonly key?: string;
}
/** One topic, joined for as long as it is wanted, over as many connections as that takes. */
export interface Topic<Events extends object = Record<string, unknown>, Meta = unknown> {
	/** The name it was asked for by. */
	readonly name: string;
	readonly status: TopicStatus;
	/** Up to where events have been handled; undefined when not known yet and on ephemeral topics. */
	readonly position: Position | undefined;
	/** Settles at the first join: rejected with a LiveError when there will be none. */
	readonly ready: Promise<JoinedInfo>;
	readonly lifecycle: Pick<Emitter<TopicLifecycle>, "on">;
	/** Who is here, on topics that know it. */
	readonly presence: Presence<Meta>;
	/**
	 * Handle events of one name, or of all (`"*"`). On a durable topic handlers see every event once and in order;
	 * the position moves on when the handlers of an event have returned, and also when one throws.
	 */
	on<Name extends keyof Events & string>(name: Name, handler: EventHandler<Events[Name]>): Off;
	on(name: "*", handler: EventHandler<Events[keyof Events]>): Off;
	/**
	 * Run an action and get its result. It is carried out once, however often it has to be sent; made offline, it is
	 * sent after reconnecting. `payload` is fixed now. Rejected with a LiveError when it failed.
	 */
	call<Value = unknown>(name: string, payload?: object, options?: CallOptions): Promise<Value>;
	/** Run an action without an answer, at most once: dropped when the topic is not joined at the moment. */
	send(name: string, payload?: object): void;
	/** End it. Pending calls are rejected with code `left`; `live.topic(name)` then makes a new one. */
	leave(): void;
}
/** As much of `window` and `document` as the client listens to. React Native has a `window` without events. */
export interface WakeSource {
	readonly window?: Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> | undefined;
	readonly document?: (Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & {
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
export interface StatusDetail {
	/** Why the last connection ended, with `waiting` and `closed`. */
	readonly error?: LiveError;
	/** With `waiting`: milliseconds until the next attempt. */
	readonly retryIn?: number;
	/** With `waiting`: the time of the next attempt, as `Date.now()` counts. */
	readonly retryAt?: number;
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
	readonly url?: Asked<string>;
	/** For servers that authenticate by token instead of by cookie. A function is asked at every attempt. */
	readonly token?: Asked<string | undefined>;
	/** Subprotocols offered besides Holdfast's own. */
	readonly protocols?: readonly string[];
	/** How many calls may wait for an answer before more are rejected with code `queue_full`; default 1,000. */
	readonly maxCalls?: number;
	/** Milliseconds that an attempt may take; default 10,000. */
	readonly connectTimeout?: number;
	/** Milliseconds; default `{ base: 1_000, cap: 30_000 }`. */
	readonly backoff?: Partial<BackoffOptions>;
	/** Another implementation than the browser's, for Node and for tests. */
	readonly WebSocket?: WebSocketConstructor;
	readonly clock?: Clock;
	/** From 0 up to 1, as `Math.random`. */
	readonly random?: () => number;
	/** Whose events hurry a reconnection; default: the page's. */
	readonly page?: WakeSource;
}
/** One connection to the server, kept for as long as the page lives, with any number of topics on it. */
export interface Live {
	/** This client's name for as long as the page lives: random, 128 bits. */
	readonly client: string;
	readonly status: LiveStatus;
	/** The user's id; null when anonymous, undefined before the first welcome. */
	readonly user: string | null | undefined;
	on<Name extends keyof LiveEvents>(name: Name, handler: (...args: LiveEvents[Name]) => void): Off;
	/** The topic of this name: joined at once, the same object until it is left. Connects if need be. */
	topic<Events extends object = Record<string, unknown>, Meta = unknown>(name: string, options?: TopicOptions): Topic<Events, Meta>;
	/** Give the server a newer token of the same user. Rejected with code `invalid_token` when it is not. */
	refresh(token: string): Promise<void>;
	/** Connect anew now: while waiting, online, or after the server closed for good. */
	reconnect(): void;
	/** End it: topics are left, pending calls rejected with code `closed`. */
	close(): void;
}
/** A client for the server that the page names (or `options.url`). It connects when the first topic is asked for. */
export declare function connect(options?: ConnectOptions): Live;

export {};

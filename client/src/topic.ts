import type { Emitter, Off } from "./emitter.js";
import type { LiveError } from "./errors.js";
import type { ResetReason } from "./frames.js";
import type { Position } from "./position.js";
import type { Presence } from "./presence.js";

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
  joined: [info: JoinedInfo];
  reset: [info: ResetInfo];
  left: [info: EndedInfo];
  refused: [info: RefusedInfo];
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

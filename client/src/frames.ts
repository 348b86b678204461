/**
 * Every message of the wire, version 1 (PROTOCOL.md is the full text; src/holdfast/protocol/frames.py the twin). A field that
 * is undefined is not sent.
 */

import type { Position } from "./position.js";

// ── client to server ─────────────────────────────────────────────────────────────────────────────

export interface Hello {
  readonly type: "hello";
  readonly payload: { readonly client: string; readonly token?: string | undefined };
}

export interface Join {
  readonly type: "join";
  readonly ref: number;
  readonly topic: string;
  readonly payload?: { readonly since: Position } | undefined;
}

export interface Leave {
  readonly type: "leave";
  readonly ref: number;
  readonly topic: string;
}

export interface Call {
  readonly type: "call";
  readonly topic: string;
  readonly name: string;
  readonly ref?: number;
  readonly key?: string;
  readonly payload?: Json | undefined;
}

export interface Refresh {
  readonly type: "refresh";
  readonly ref: number;
  readonly payload: { readonly token: string };
}

export interface Ping {
  readonly type: "ping";
}

export type ClientFrame = Hello | Join | Leave | Call | Refresh | Ping;

// ── server to client ─────────────────────────────────────────────────────────────────────────────

export interface Limits {
  /** Bytes in one message. */
  readonly message_bytes: number;
  /** Topics that one connection may join. */
  readonly topics: number;
  /** Calls that may run at once. */
  readonly calls: number;
}

export interface Welcome {
  readonly type: "welcome";
  readonly payload: {
    readonly session: string;
    readonly user: string | null;
    /** Seconds. */
    readonly heartbeat: number;
    readonly limits: Limits;
  };
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

/** The members, or only their count; neither while the server does not know them. */
export interface Known {
  readonly members?: readonly Member[];
  readonly count?: number;
}

export interface Joined {
  readonly type: "joined";
  readonly ref: number;
  readonly topic: string;
  readonly payload: Known & {
    readonly epoch?: string;
    readonly offset?: number;
    readonly stamp?: number;
    readonly recovered?: boolean;
    /** Names of the events that the topic declares, from a server in development. */
    readonly events?: readonly string[];
    readonly snapshot?: unknown;
  };
}

export interface ErrorPayload {
  readonly code: string;
  readonly message: string;
  readonly reason?: string;
  /** Seconds. */
  readonly retry_after?: number;
  readonly errors?: Readonly<Record<string, readonly string[]>>;
}

export interface Left {
  readonly type: "left";
  readonly topic: string;
  readonly ref?: number;
  readonly payload?: ErrorPayload;
}

export interface Event {
  readonly type: "event";
  readonly topic: string;
  readonly name: string;
  readonly offset?: number;
  readonly stamp?: number;
  readonly payload: unknown;
}

export interface Result {
  readonly type: "result";
  readonly ref: number;
  readonly payload: unknown;
}

export interface Failure {
  readonly type: "error";
  readonly payload: ErrorPayload;
  readonly ref?: number;
  readonly topic?: string;
}

export type ResetReason = "trimmed" | "epoch" | "interrupted";

export interface Reset {
  readonly type: "reset";
  readonly topic: string;
  readonly payload: {
    readonly reason: ResetReason;
    readonly epoch?: string;
    readonly offset?: number;
    readonly stamp?: number;
  };
}

export interface PresenceNews extends Known {
  readonly joined?: readonly Member[];
  readonly left?: readonly string[];
}

export interface PresenceFrame {
  readonly type: "presence";
  readonly topic: string;
  readonly payload: PresenceNews;
}

export interface Goodbye {
  readonly type: "goodbye";
  /** `after` is in seconds; `reason` is the application's own. */
  readonly payload: {
    readonly code: string;
    readonly reconnect: boolean;
    readonly after?: number;
    readonly reason?: string;
  };
}

export interface Pong {
  readonly type: "pong";
}

export type ServerFrame = Ping | Welcome | Joined | Left | Event | Result | Failure | Reset | PresenceFrame | Goodbye | Pong;

/** Messages that can answer a request. */
export type Answer = Joined | Left | Result | Failure;

// ── text ─────────────────────────────────────────────────────────────────────────────────────────

/**
 * JSON text of a call's arguments. It is fixed when the call is made, however late the call is sent. The constructor
 * throws a TypeError that names the field when JSON would drop, empty or change a value.
 */
export class Json {
  readonly text: string;

  constructor(payload: unknown) {
    let top = true;
    this.text = toText(payload, (key, value: unknown) => {
      const found = notJson(value, top);
      if (found) throw new TypeError(`${top ? "it" : `\`${key}\``} is ${found}`);
      top = false;
      return value;
    });
  }
}

/**
 * Why JSON cannot hold a value, or hold it at the top, where only an object may stand. `JSON.stringify` leaves functions
 * out, and makes `{}` of a Map and null of NaN.
 */
function notJson(value: unknown, top: boolean): string | undefined {
  const type = Array.isArray(value) ? "array" : typeof value;
  if (type === "object" && value) {
    const prototype = Object.getPrototypeOf(value) as object | null;
    // A plain object of any realm may be empty. An empty one of any other class keeps its state where JSON cannot see it.
    const plain = !prototype || !Object.getPrototypeOf(prototype);
    const seen = plain || (Object.keys(value).length > 0 && !ArrayBuffer.isView(value));
    return seen ? undefined : `of type ${value.constructor.name}`;
  }
  if (top || /function|symbol|bigint/.test(type)) return `of type ${type}`;
  return type === "number" && !Number.isFinite(value) ? String(value) : undefined;
}

/**
 * JSON text without lone surrogates. `JSON.stringify` escapes these halves of a pair, and no UTF-8 text can hold them: a
 * server could read nothing of the message, not even its `ref`. The replacement character takes their place.
 */
function toText(value: unknown, replacer?: (key: string, value: unknown) => unknown): string {
  return JSON.stringify(value, replacer).replace(/\\(?:\\|ud[89a-f]..)/gi, (found) => (found.length > 2 ? "\\ufffd" : found));
}

export function encode(frame: ClientFrame): string {
  if (frame.type !== "call" || frame.payload === undefined) return toText(frame);
  const { payload, ...rest } = frame;
  return `${toText(rest).slice(0, -1)},"payload":${payload.text}}`;
}

/**
 * Read a message of the server. Throws when it is not an object with a `type`; a type that this version does
 * not know is returned like any other, for the reader to ignore.
 */
export function decode(data: unknown): ServerFrame {
  const frame: unknown = typeof data === "string" ? JSON.parse(data) : undefined;
  if (typeof (frame as { readonly type?: unknown } | undefined | null)?.type === "string") return frame as ServerFrame;
  throw new TypeError("not a message");
}

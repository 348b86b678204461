/**
 * The browser client of Holdfast.
 *
 *     const live = connect();
 *     const room = live.topic("rooms/lobby");
 *     room.on("message.posted", (message) => show(message));
 *     await room.call("post", { body: "hi" });
 *
 * Messages of durable topics arrive once and in order, calls are carried out once: across lost connections,
 * restarts of the server and sleep.
 */

import { carrierOf } from "./carrier.js";
import { systemClock } from "./clock.js";
import { ask, CONNECT_TIMEOUT } from "./connection.js";
import type { ConnectOptions, Live } from "./live.js";
import { Manager, type ManagerSettings } from "./manager.js";
import { pageBase, pageCursors, pageUrl } from "./page.js";
import { shared } from "./shared.js";

export type { BackoffOptions } from "./backoff.js";
export type { Cancel, Clock } from "./clock.js";
export type { CodeName } from "./codes.js";
export type { Asked } from "./connection.js";
export type { Off, OnOptions } from "./emitter.js";
export { LiveError, type ErrorCode, type FieldErrors, type LocalCode } from "./errors.js";
export type { Member, ResetReason } from "./frames.js";
export type { ConnectOptions, Live, LiveEvents, LiveState, LiveStatus, StatusDetail, TransportName } from "./live.js";
export type { Position } from "./position.js";
export type { Presence, PresenceEvents, PresenceState } from "./presence.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export type { Store } from "./store.js";
export type * from "./topic.js";
export type { WakeSource } from "./wake.js";

/**
 * A client for the server that the page names (or `options.url`). It connects when the first topic is asked for.
 *
 * A page has one for each URL: a script that runs again, because Turbo or htmx replaced the body, gets the client that
 * is there already. What such a script adds to it, it should add with a `signal`, or to a lease.
 */
export function connect(options: ConnectOptions = {}): Live {
  // The caller declares the types of a topic.
  return shared(options, (now) => new Manager(settingsOf(options, now))) as unknown as Live;
}

function settingsOf(options: ConnectOptions, now: () => ConnectOptions): ManagerSettings {
  return {
    client: newClientId(),
    url: options.url ?? pageUrl,
    clock: options.clock ?? systemClock,
    connectTimeout: options.connectTimeout ?? CONNECT_TIMEOUT,
    page: options.page ?? globalThis,
    token: typeof options.token === "string" ? options.token : () => ask(now().token),
    random: options.random ?? Math.random,
    backoff: options.backoff ?? {},
    maxCalls: options.maxCalls ?? 1_000,
    cursor: pageCursors(),
    base: pageBase(),
    carrier: carrierOf(options),
  };
}

/**
 * Kept in memory only: a duplicated tab or one restored from the session's storage would otherwise bear the same
 * name, and the server would take two clients for one.
 */
function newClientId(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

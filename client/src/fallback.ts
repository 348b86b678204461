/**
 * Transports for networks that block WebSockets: an event stream with calls by POST, and long polling. The
 * client loads this file by itself when it needs it (`connect({ transports })`).
 */

import { EVENT_STREAM, POLLING } from "./streams.js";
import { Choice } from "./choice.js";
import { systemClock } from "./clock.js";
import { CONNECT_TIMEOUT } from "./connection.js";
import { narrated } from "./narration.js";
import { Relay, type RelaySettings } from "./relay.js";
import type { ConnectOptions, TransportName } from "./live.js";
import { Memory } from "./memory.js";
import type { OpenTransport } from "./transport.js";

/** The transport over server-sent events at `/live/sse`, beside the URL of the WebSocket. */
function eventStream(settings: RelaySettings): OpenTransport {
  return (url, listener) => new Relay(EVENT_STREAM, url, listener, settings);
}

/** The transport over long polling at `/live/poll`. */
function polling(settings: RelaySettings): OpenTransport {
  return (url, listener) => new Relay(POLLING, url, listener, settings);
}

/** A transport that is, at each attempt, the first of `options.transports` that gets through. */
export function choose(options: ConnectOptions, webSocket: OpenTransport): OpenTransport {
  const memory = new Memory(() => localStorage);
  const { clock = systemClock, connectTimeout = CONNECT_TIMEOUT, page = globalThis } = options;
  const relay = { clock, fetch: options.fetch ?? globalThis.fetch };
  const there = options.WebSocket ?? (globalThis as Partial<typeof globalThis>).WebSocket;
  const known = { websocket: there ? webSocket : none, sse: eventStream(relay), polling: polling(relay) };
  const debug = options.debug ?? memory.debug;
  const candidates = namesOf(options, !!there).map((name) => ({ name, open: debug ? narrated(known[name]) : known[name] }));
  const choice = new Choice({ clock, connectTimeout, page, candidates, memory });
  return (url, listener) => choice.open(url, listener);
}

/** Takes the place of a WebSocket where none is available. */
const none: OpenTransport = (_, listener) => {
  const payload = { code: "no_websocket", reconnect: false };
  const timer = setTimeout(() => {
    listener.received(JSON.stringify({ type: "goodbye", payload }));
    listener.closed(1006, "");
  });
  return {
    name: "websocket",
    send: () => undefined,
    close: () => {
      clearTimeout(timer);
    },
  };
};

function namesOf({ transports, WebSocket }: ConnectOptions, there: boolean): readonly TransportName[] {
  if (transports?.length) return transports;
  if (WebSocket) return ["websocket"];
  return there ? ["websocket", "sse", "polling"] : ["sse", "polling"];
}

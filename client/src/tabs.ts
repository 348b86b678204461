/**
 * Tabs of one browser share one connection to the server.
 *
 *     import { connect } from "holdfast-client/tabs";
 *     const live = connect();
 *
 * One of the tabs has the connection, and the others speak through it. When it is closed, crashes or falls asleep, another tab
 * connects. Each tab has topics, positions and calls of its own, and hears what it would hear on a connection of its own.
 */

import { carrierOf } from "./carrier.js";
import { systemClock } from "./clock.js";
import { connect as connectAlone, type Asked, type ConnectOptions, type Live } from "./index.js";
import { Memory } from "./memory.js";
import { TABS } from "./pagetabs.js";
import { tabsBrowser } from "./tabs/browser.js";
import { sharedSocket } from "./tabs/socket.js";

export interface TabsOptions extends ConnectOptions {
  /**
   * Whose the page is, as text: tabs share only where it is the same. Give it where the page comes from elsewhere than a Django
   * template, or where each tab has another token of the same user: the user's id and what else decides about their rights.
   * Default: what `{% live_script tabs=True %}` says, or with a `token` the token itself. A function is asked at every attempt;
   * undefined asks for the default.
   */
  readonly identity?: Asked<string | undefined> | undefined;
}

/**
 * `connect()` of the client, with a connection that tabs share. Where they cannot (no Web Locks, no BroadcastChannel, no page, nothing
 * that says whose the page is) it is an ordinary connection.
 */
export function connect({ identity, ...options }: TabsOptions = {}): Live {
  const tell = narrator(options);
  const browser = tabsBrowser();
  if (typeof browser === "string") {
    tell(`a connection of its own: ${browser}`);
    return connectAlone(options);
  }
  // What carries the connection, and tells of it, is the leader's.
  const { clock = systemClock, random = Math.random, page = globalThis, transports } = options;
  const text = JSON.stringify(["shared", String(identity), transports ?? null, String(options.WebSocket)]);
  const WebSocket = sharedSocket({ browser, clock, random, page, identity, transports, text, tell, carrier: carrierOf(options) });
  return connectAlone({ ...options, transports: undefined, debug: undefined, clock, random, page, WebSocket });
}

function narrator({ debug }: ConnectOptions): (what: string) => void {
  const told = debug ?? new Memory(() => localStorage).debug;
  return (what) => {
    if (told) console.debug(`Holdfast tabs: ${what}`);
  };
}

(globalThis as { [TABS]?: typeof connect })[TABS] = connect;

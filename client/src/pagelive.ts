import { connect, type Live } from "./index.js";

let live: Live | undefined;

/** The page's own client, for components without another one. This module asks for it asked for once: `connect()` may reconnect. */
export function pageLive(): Live {
  return (live ??= connect());
}

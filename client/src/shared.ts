import type { ConnectOptions } from "./live.js";
import type { Manager } from "./manager.js";
import { pageUrl } from "./page.js";

interface Client {
  options: ConnectOptions;
  readonly manager: Manager;
}

/** The clients of this page. */
const clients = new Map<string, Client>();

/**
 * The client that the page has for this URL and options like these, or a new one; `make` gets a function that returns
 * the options as they are now. Only pages share: a process without a document may act for several users.
 */
export function shared(options: ConnectOptions, make: (now: () => ConnectOptions) => Manager): Manager {
  const { token, protocols, transports, maxCalls, connectTimeout, backoff, WebSocket } = options;
  // A script that runs again makes its functions again: they are the same when their text is.
  const key = JSON.stringify(
    [options.url ?? pageUrl(), token, protocols, transports, maxCalls, connectTimeout, backoff, WebSocket],
    (_, value: unknown) => (typeof value === "function" ? String(value) : value),
  );
  const sharing = options.shared ?? "document" in globalThis;
  const known = sharing && clients.get(key);
  if (known && !known.manager.closed) {
    known.options = options; // the newer functions count: they belong to the page as it is now
    // The server may have ended it for the user who was signed in then.
    if (known.manager.status === "closed") known.manager.reconnect();
    return known.manager;
  }
  const client: Client = { options, manager: make(() => client.options) };
  if (sharing) clients.set(key, client);
  return client.manager;
}

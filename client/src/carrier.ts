import type { ConnectOptions } from "./live.js";
import { webSocketTransport } from "./socket.js";
import type { OpenTransport } from "./transport.js";

/** After so many failures in a row the network may block WebSockets. */
const DOUBT = 2;

/**
 * The choice of the transport for each connection: a WebSocket, as long as there is no reason for another one. All other
 * transports are in a separate file, which most pages never load.
 */
export function carrierOf(options: ConnectOptions): (failures: number) => OpenTransport | Promise<OpenTransport> {
  const { WebSocket, transports, debug, protocols } = options;
  const webSocket = webSocketTransport(WebSocket ?? globalThis.WebSocket, protocols);
  const early = transports ?? debug ?? (!WebSocket && noted());
  let choice: Promise<OpenTransport> | undefined;
  return (failures) => {
    if (early || (failures >= DOUBT && !WebSocket)) {
      choice ??= import("./fallback.js").then(
        ({ choose }) => choose(options, webSocket),
        () => webSocket, // browsers do not load a file again that was not there once
      );
    }
    return choice ?? webSocket;
  };
}

/** Whether there is no WebSocket, or an earlier page or the developer has left a note in the browser's storage. */
function noted(): unknown {
  try {
    return !(globalThis as Partial<typeof globalThis>).WebSocket || localStorage["holdfast"];
  } catch {
    return; // there is no storage, or it is disabled
  }
}

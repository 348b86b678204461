import { SUBPROTOCOL } from "./codes.js";
import type { OpenTransport } from "./transport.js";

/* eslint-disable @typescript-eslint/no-explicit-any --
   handlers are typed as loosely as it takes for the browser's WebSocket and those of Node to fit alike */
/** As much of a WebSocket as the client uses. */
export interface WebSocketLike {
  onopen: ((event: any) => any) | null;
  onmessage: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  send(data: string): void;
  close(code?: number): void;
}
/* eslint-enable @typescript-eslint/no-explicit-any */

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** The transport over WebSocket. This client speaks JSON; `extra` subprotocols are offered after ours. */
export function webSocketTransport(Socket: WebSocketConstructor, extra: readonly string[] = []): OpenTransport {
  return (url, listener) => {
    const socket = new Socket(url, [SUBPROTOCOL, ...extra]);
    socket.onopen = listener.opened;
    socket.onmessage = (event: { readonly data: unknown }) => {
      listener.received(event.data);
    };
    socket.onclose = (event: { readonly code: number; readonly reason: string }) => {
      listener.closed(event.code, event.reason);
    };
    // The close that follows says more. None follows in Chromium when a content security policy blocks the connection.
    socket.onerror = () => {
      setTimeout(listener.closed, 0, 1006, "see console");
    };
    return {
      name: "websocket",
      send: (text) => {
        socket.send(text);
      },
      close: (code) => {
        // A browser may wait a minute for the other side's close; this client does not.
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close(code);
      },
    };
  };
}

import type { TransportName } from "./live.js";

/**
 * What carries messages. A transport opens, carries text both ways in order, and closes once; it decides
 * nothing. WebSocket is the first; an event stream and long polling (fallback.ts) have the same surface.
 */
export interface Transport {
  readonly name: TransportName;
  /** Only after `opened`. */
  send(text: string): void;
  /** Close now. The listener hears nothing more, not even `closed`. */
  close(code: number): void;
}

export interface TransportListener {
  readonly opened: () => void;
  readonly received: (data: unknown) => void;
  /** `code` as in WebSocket close codes: 1006 when the connection just broke. */
  readonly closed: (code: number, reason: string) => void;
}

/** Starts to open. Throws when the URL can never work. */
export type OpenTransport = (url: string, listener: TransportListener) => Transport;

import type { ServerFrame, Welcome } from "../src/frames.js";
import type { WebSocketConstructor, WebSocketLike } from "../src/index.js";
import { settle } from "./clock.js";

/** A frame of the client as a test reads it. */
export interface Sent {
  readonly type: string;
  readonly ref?: number;
  readonly topic?: string;
  readonly name?: string;
  readonly key?: string;
  readonly payload?: Record<string, unknown>;
}

/** The client's end of a connection whose other end is the test. */
export class FakeSocket implements WebSocketLike {
  onopen: ((event: unknown) => unknown) | null = null;
  onmessage: ((event: { readonly data: unknown }) => unknown) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => unknown) | null = null;
  onerror: ((event: unknown) => unknown) | null = null;
  readonly url: string;
  readonly protocols: readonly string[];
  readonly sent: Sent[] = [];
  /** The code that the client closed with. */
  closedWith: number | undefined;
  onsend: ((frame: Sent) => void) | undefined;

  constructor(url: string, protocols: readonly string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    if (this.closedWith !== undefined) throw new Error("sent on a closed socket");
    const frame = JSON.parse(text) as Sent;
    this.sent.push(frame);
    this.onsend?.(frame);
  }

  close(code?: number): void {
    this.closedWith ??= code ?? 1005;
  }

  /** All frames of one type that were sent. */
  of(type: string): Sent[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** The frames sent since the last look, hello and pings left out. */
  #looked = 0;
  look(): Sent[] {
    const frames = this.sent.slice(this.#looked).filter(({ type }) => type !== "hello" && type !== "ping");
    this.#looked = this.sent.length;
    return frames;
  }

  // ── the server's side ──────────────────────────────────────────────────────────────────────────

  async open(): Promise<void> {
    this.onopen?.({});
    await settle();
  }

  async say(...frames: readonly (ServerFrame | { readonly type: string })[]): Promise<void> {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
    await settle();
  }

  async welcome(details: Partial<Welcome["payload"]> = {}): Promise<void> {
    const limits = { message_bytes: 65_536, topics: 100, calls: 32 };
    await this.say({ type: "welcome", payload: { session: "s1", user: "7", heartbeat: 25, limits, ...details } });
  }

  async drop(code = 1006, reason = ""): Promise<void> {
    this.onclose?.({ code, reason });
    await settle();
  }
}

/** Where a client under test connects to. */
export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  readonly WebSocket: WebSocketConstructor;
  onconnect: ((socket: FakeSocket) => void) | undefined;

  constructor() {
    const connected = (socket: FakeSocket): void => {
      this.sockets.push(socket);
      this.onconnect?.(socket);
    };
    this.WebSocket = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        connected(this);
      }
    };
  }

  /** The newest connection. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("no client has connected");
    return socket;
  }

  /** Accept the newest connection. */
  async accept(details?: Partial<Welcome["payload"]>): Promise<FakeSocket> {
    await settle();
    const { socket } = this;
    await socket.open();
    await socket.welcome(details);
    return socket;
  }
}

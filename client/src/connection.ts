import { positive, type Cancel, type Clock } from "./clock.js";
import { endingOf } from "./ending.js";
import { LiveError, type ErrorCode } from "./errors.js";
import { decode, encode, type Answer, type ClientFrame, type Goodbye, type ServerFrame, type Welcome } from "./frames.js";
import { Heartbeat } from "./heartbeat.js";
import type { TransportName } from "./live.js";
import { webSocketUrl } from "./page.js";
import type { OpenTransport, Transport } from "./transport.js";

/** Milliseconds. */
export const CONNECT_TIMEOUT = 10_000;

/** A value, or a function that is asked for it at every attempt to connect. */
export type Asked<Value> = Value | (() => Value | Promise<Value>);

export interface ConnectionSettings {
  readonly client: string;
  readonly url: Asked<string>;
  /** The base of relative URLs. */
  readonly base: string | undefined;
  /** `refresh` replaces one that is a text. */
  token: Asked<string | undefined>;
  readonly clock: Clock;
  /** Milliseconds from the start of the attempt to the server's welcome. */
  readonly connectTimeout: number;
}

export interface ConnectionOwner {
  carrier(): OpenTransport | Promise<OpenTransport>;
  /** Let the handlers of a change wait until it is complete. */
  wrap(change: (data: unknown) => void): (data: unknown) => void;
  welcomed(welcome: Welcome["payload"], transport: TransportName | undefined): void;
  /** A message that answers no request. */
  received(frame: ServerFrame): void;
  /** The last word of a connection, said once; not when the owner closed it. */
  ended(error: LiveError, final: boolean, after: number): void;
}

/** A request before it has its reference. */
export type Request = ClientFrame extends infer Frame
  ? Frame extends { readonly ref?: number }
    ? Omit<Frame, "ref">
    : never
  : never;

/** One connection from the first attempt to open it to its end; it never comes back. */
export class Connection {
  readonly #settings: ConnectionSettings;
  readonly #owner: ConnectionOwner;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  readonly #cancelTimeout: Cancel;
  #transport: Transport | undefined;
  #heartbeat: Heartbeat | undefined;
  /** What the server said in its welcome; undefined before. */
  welcome: Welcome["payload"] | undefined;
  #goodbye: Goodbye["payload"] | undefined;
  #lastRef = 0;
  #over = false;

  constructor(settings: ConnectionSettings, owner: ConnectionOwner) {
    this.#settings = settings;
    this.#owner = owner;
    this.#cancelTimeout = settings.clock.after(settings.connectTimeout, () => {
      this.#fail("connect_timeout");
    });
    void this.#start();
  }

  /** Send a message that is not answered. Throws a LiveError `too_large` when the server would not take it. */
  send(frame: ClientFrame): void {
    const text = encode(frame);
    this.#checkSize(text);
    this.#transport?.send(text);
  }

  /** Send a request; `answered` is called at most once, and never after the connection has ended. */
  request(request: Request, answered: (answer: Answer) => void): void {
    const ref = ++this.#lastRef;
    this.send({ ...request, ref });
    this.#answers.set(ref, answered);
  }

  /** Find out whether the connection still lives, unless something arrived in the last `silence` milliseconds. */
  probe(silence?: number): void {
    this.#heartbeat?.probe(silence);
  }

  /** Close it; the owner gets no further calls. */
  close(code = 1000): void {
    if (this.#over) return;
    this.#over = true;
    this.#answers.clear();
    this.#cancelTimeout();
    this.#heartbeat?.stop();
    this.#transport?.close(code);
  }

  async #start(): Promise<void> {
    const { url, token, client } = this.#settings;
    try {
      const [where, credential, open] = await Promise.all([ask(url), ask(token), this.#owner.carrier()]);
      if (!this.#over) this.#open(open, where, { type: "hello", payload: { client, token: credential } });
    } catch (cause) {
      this.#fail("connection_lost", cause);
    }
  }

  #open(open: OpenTransport, url: string, hello: ClientFrame): void {
    try {
      this.#transport = open(webSocketUrl(url, this.#settings.base), {
        opened: () => {
          this.send(hello);
        },
        received: this.#owner.wrap((data) => {
          this.#received(data);
        }),
        closed: (code, reason) => {
          const { error, final, after } = endingOf(code, reason, this.#goodbye);
          this.#break(error, final, after);
        },
      });
    } catch (cause) {
      const error = cause instanceof LiveError ? cause : new LiveError("invalid_url", undefined, { cause });
      this.#break(error, true);
    }
  }

  #received(data: unknown): void {
    try {
      this.#take(decode(data));
    } catch (cause) {
      // To pass over a message might be to lose an event: come back and go on from the last position instead.
      this.#fail("malformed", cause);
    }
  }

  /** Throws when a message lacks a field of its type. Errors of handlers are reported elsewhere. */
  #take(frame: ServerFrame): void {
    this.#heartbeat?.heard(frame.type === "ping");
    if (frame.type === "welcome") this.#welcomed(frame.payload);
    else if (frame.type === "goodbye") this.#goodbye = frame.payload;
    else if (!this.#answer(frame)) this.#owner.received(frame);
  }

  #welcomed(welcome: Welcome["payload"]): void {
    const { heartbeat, limits } = welcome as Partial<Welcome["payload"]>;
    if (!positive(heartbeat) || !limits) throw new TypeError("not a message");
    this.#cancelTimeout();
    this.#heartbeat?.stop();
    this.welcome = welcome;
    this.#heartbeat = new Heartbeat(this.#settings.clock, welcome.heartbeat, {
      ping: () => {
        this.send({ type: "ping" });
      },
      dead: () => {
        this.#fail("heartbeat_missed");
      },
    });
    this.#owner.welcomed(welcome, this.#transport?.name);
  }

  #answer(frame: ServerFrame): boolean {
    const { ref = 0 } = frame as Partial<Answer>;
    const answered = this.#answers.get(ref);
    this.#answers.delete(ref);
    answered?.(frame as Answer);
    return !!answered;
  }

  #checkSize(text: string): void {
    const limit = this.welcome?.limits.message_bytes ?? Infinity;
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    if (text.length * 3 > limit && new TextEncoder().encode(text).length > limit) throw new LiveError("too_large");
  }

  /** Break it, to come back. */
  #fail(code: ErrorCode, cause?: unknown): void {
    this.#break(new LiveError(code, undefined, { cause }));
  }

  #break(error: LiveError, final = false, after = 0): void {
    if (this.#over) return;
    this.close();
    this.#owner.ended(error, final, after);
  }
}

export async function ask<Value>(asked: Asked<Value>): Promise<Value> {
  return typeof asked === "function" ? (asked as () => Value | Promise<Value>)() : asked;
}

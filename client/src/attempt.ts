import type { Cancel, Clock } from "./clock.js";
import { decode, type ServerFrame } from "./frames.js";
import type { TransportName } from "./live.js";
import type { OpenTransport, Transport, TransportListener } from "./transport.js";

export interface Candidate {
  readonly name: TransportName;
  readonly open: OpenTransport;
}

export interface AttemptSettings {
  readonly clock: Clock;
  readonly url: string;
  readonly candidates: readonly Candidate[];
  /** Milliseconds until the next candidate is tried. */
  readonly limit: number;
}

export interface AttemptOwner {
  /** The candidate at this place reached the server. `failed` is true if those before it failed on this attempt. */
  settled(place: number, attempt: Attempt): void;
  /** No candidate reached the server. */
  failed(): void;
  /** The connection of a candidate that got through has ended by itself after so many milliseconds. */
  ended(place: number, ms: number): void;
}

/** Whether a close code is the server's own: it has spoken, so this transport gets through to it. */
function isServers(code: number): boolean {
  return code >= 4000 && code < 4500;
}

/** One connection, by the first of some candidates that reaches the server. */
export class Attempt implements Transport {
  readonly #settings: AttemptSettings;
  readonly #listener: TransportListener;
  readonly #owner: AttemptOwner;
  #place = -1;
  #transport: Transport | undefined;
  #hello: string | undefined;
  #failure: readonly [code: number, reason: string] | undefined;
  /** The time of the server's first message. */
  #since: number | undefined;
  #cancelLimit: Cancel | undefined;
  #stop: Cancel | undefined;
  #over = false;

  constructor(settings: AttemptSettings, listener: TransportListener, owner: AttemptOwner) {
    this.#settings = settings;
    this.#listener = listener;
    this.#owner = owner;
    this.#next();
  }

  get name(): TransportName {
    return this.#settings.candidates[this.#place]?.name ?? "websocket";
  }

  /** The client's first message, which each candidate sends. */
  get hello(): string {
    return this.#hello ?? "";
  }

  /** Run `stop` when the connection ends, in whichever way. */
  until(stop: Cancel): void {
    if (this.#over) stop();
    else this.#stop = stop;
  }

  send(text: string): void {
    this.#hello ??= text;
    this.#transport?.send(text);
  }

  close(code: number): void {
    if (this.#over) return;
    if (this.#since === undefined) this.#owner.failed();
    this.#finish();
    this.#transport?.close(code);
  }

  /** End it so that the client comes back at once. */
  leave(reason: string): void {
    if (this.#over) return;
    this.#finish();
    this.#transport?.close(1000);
    this.#listener.closed(1000, reason);
  }

  #next(): void {
    const { candidates, clock, url, limit } = this.#settings;
    const candidate = candidates[++this.#place];
    this.#cancelLimit?.();
    if (!candidate) {
      this.#owner.failed();
      this.#end(...(this.#failure ?? [1006, ""]));
      return;
    }
    if (this.#place < candidates.length - 1) {
      this.#cancelLimit = clock.after(limit, () => {
        this.#transport?.close(1000);
        this.#failed(1006, "timed out");
      });
    }
    const place = this.#place;
    const current = (): boolean => !this.#over && place === this.#place;
    this.#transport = candidate.open(url, {
      opened: () => {
        if (!current()) return;
        if (this.#hello === undefined) this.#listener.opened();
        else this.#transport?.send(this.#hello);
      },
      received: (data) => {
        if (current()) this.#received(data);
      },
      closed: (code, reason) => {
        if (current()) this.#closed(code, reason);
      },
    });
  }

  #received(data: unknown): void {
    if (this.#since === undefined) {
      const frame = read(data);
      if (!frame) {
        // Something on the way answers in the server's place.
        this.#transport?.close(1000);
        this.#failed(1006, "not the server");
        return;
      }
      this.#cancelLimit?.();
      this.#since = this.#settings.clock.now();
      if (frame.type === "welcome") this.#owner.settled(this.#place, this);
    }
    if (!this.#over) this.#listener.received(data);
  }

  #closed(code: number, reason: string): void {
    if (this.#since !== undefined && !isServers(code)) this.#owner.ended(this.#place, this.#settings.clock.now() - this.#since);
    if (this.#since !== undefined || isServers(code)) this.#end(code, reason);
    else this.#failed(code, reason);
  }

  #failed(code: number, reason: string): void {
    this.#failure ??= [code, reason];
    this.#next();
  }

  #end(code: number, reason: string): void {
    this.#finish();
    this.#listener.closed(code, reason);
  }

  #finish(): void {
    this.#over = true;
    this.#cancelLimit?.();
    this.#stop?.();
  }
}

/** Find out whether a candidate reaches the server; calls `done` once, unless the search is stopped. */
export function probe(candidate: Candidate, hello: string, { clock, url, limit }: Omit<AttemptSettings, "candidates">, done: (through: boolean) => void): Cancel {
  let over = false;
  const end = (through: boolean | undefined): void => {
    if (over) return;
    over = true;
    cancel();
    transport.close(1000);
    if (through !== undefined) done(through);
  };
  const cancel = clock.after(limit, () => {
    end(false);
  });
  const transport = candidate.open(url, {
    opened: () => {
      if (!over) transport.send(hello);
    },
    received: (data) => {
      end(read(data) !== undefined);
    },
    closed: (code) => {
      end(isServers(code));
    },
  });
  return () => {
    end(undefined);
  };
}

function read(data: unknown): ServerFrame | undefined {
  try {
    return decode(data);
  } catch {
    return undefined;
  }
}

import type { Cancel, Clock } from "./clock.js";
import type { Failure, Goodbye, Joined, Known, Left, ServerFrame, Welcome } from "./frames.js";
import { Http, type Fetch, type Refusal } from "./http.js";
import type { TransportName } from "./live.js";
import { position, positionIn, type Position } from "./position.js";
import { PostedCalls, type CallFrame } from "./postedcalls.js";
import type { Stream, StreamKind } from "./streams.js";
import type { Transport, TransportListener } from "./transport.js";

export interface RelaySettings {
  readonly clock: Clock;
  readonly fetch: Fetch;
}

/** A topic that the client has joined, or wants to. */
interface Entry {
  /** As the client asked for it. */
  readonly name: string;
  /** Of the join that has no answer yet. */
  ref: number | undefined;
  canonical: string;
  position: Position | undefined;
}

/** A token that replaces the present one, once a stream has shown that it is valid. */
interface Refresh {
  readonly ref: number;
  readonly token: string;
  /** The stream that was opened with it. */
  stream: Stream | undefined;
}

/** The messages of a client, as the relay reads them. */
type Sent =
  | { readonly type: "hello"; readonly payload: { readonly client: string; readonly token?: string } }
  | { readonly type: "join"; readonly ref: number; readonly topic: string; readonly payload?: { readonly since?: Position } }
  | { readonly type: "leave"; readonly ref: number; readonly topic: string }
  | { readonly type: "refresh"; readonly ref: number; readonly payload: { readonly token: string } }
  | { readonly type: "ping" }
  | ({ readonly type: "call" } & CallFrame);

/** Changes of topics that come so many milliseconds apart make one new stream. */
const TOGETHER = 10;

/**
 * A connection over HTTP that looks like a WebSocket's. The server's messages come by a stream, which is for a fixed list of
 * topics: when the client joins or leaves, a new stream takes the place of the old one and goes on from the positions that
 * the relay keeps. Calls are posted.
 */
export class Relay implements Transport {
  readonly name: TransportName;
  readonly #kind: StreamKind;
  readonly #clock: Clock;
  readonly #listener: TransportListener;
  readonly #http: Http;
  readonly #calls: PostedCalls;
  readonly #entries = new Map<string, Entry>();
  #welcome: Welcome["payload"] | undefined;
  #stream: Stream | undefined;
  /** The stream that is about to take its place. */
  #next: Stream | undefined;
  #cancelPlan: Cancel | undefined;
  #cancelTimeout: Cancel | undefined;
  #changed = false;
  #refresh: Refresh | undefined;
  #heardAt: number;
  /** The server has said goodbye. */
  #warned = false;
  #over = false;

  constructor(kind: StreamKind, url: string, listener: TransportListener, { clock, fetch }: RelaySettings) {
    this.name = kind.name;
    this.#kind = kind;
    this.#clock = clock;
    this.#listener = listener;
    this.#http = new Http(url, fetch);
    this.#heardAt = clock.now();
    this.#calls = new PostedCalls(this.#http, clock, {
      answered: (frame) => {
        this.#say(frame);
      },
      failed: (refusal) => {
        this.#end(refusal);
      },
    });
    this.#soon(() => {
      listener.opened();
    });
  }

  send(text: string): void {
    const frame = JSON.parse(text) as Sent;
    if (frame.type === "hello") this.#hello(frame.payload);
    else if (frame.type === "join") this.#join(frame.topic, frame.ref, frame.payload?.since);
    else if (frame.type === "leave") this.#leave(frame.topic, frame.ref);
    else if (frame.type === "call") this.#calls.post(frame);
    else if (frame.type === "refresh") this.#renew(frame.ref, frame.payload.token);
    else this.#ping();
  }

  close(): void {
    this.#over = true;
    this.#cancelPlan?.();
    this.#cancelTimeout?.();
    this.#stream?.close();
    this.#next?.close();
    this.#calls.close();
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────

  #hello({ client, token }: { readonly client: string; readonly token?: string }): void {
    this.#http.client = client;
    this.#http.token = token;
    this.#open();
  }

  #join(name: string, ref: number, since: Position | undefined): void {
    const most = this.#welcome?.limits.topics ?? Infinity;
    const known = this.#entries.get(name);
    if (known) this.#fail(ref, "already_joined", known.canonical);
    else if (this.#entries.size >= most) this.#fail(ref, "too_many_topics", name);
    else {
      this.#entries.set(name, { name, ref, canonical: name, position: since });
      this.#plan();
    }
  }

  #leave(topic: string, ref: number): void {
    const entry = this.#named(topic);
    if (!entry) {
      this.#fail(ref, "not_joined", topic);
      return;
    }
    this.#entries.delete(entry.name);
    this.#sayLater({ type: "left", ref, topic });
    this.#plan();
  }

  /** The next stream shows whether the token is valid. */
  #renew(ref: number, token: string): void {
    if (this.#refresh) {
      this.#fail(ref, "rate_limited");
      return;
    }
    this.#refresh = { ref, token, stream: undefined };
    this.#plan();
  }

  /** A stream that is silent for too long is left to the client's heartbeat. */
  #ping(): void {
    const limit = (this.#welcome?.heartbeat ?? 0) * 1_000 + this.#kind.patience;
    if (this.#clock.now() - this.#heardAt < limit) this.#sayLater({ type: "pong" });
  }

  #fail(ref: number, code: string, topic?: string): void {
    this.#sayLater({ type: "error", ref, topic, payload: { code, message: code.replaceAll("_", " ") } });
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────

  #plan(): void {
    this.#changed = true;
    if (this.#cancelPlan || this.#next) return;
    this.#cancelPlan = this.#clock.after(TOGETHER, () => {
      this.#cancelPlan = undefined;
      this.#open();
    });
  }

  #open(): void {
    this.#changed = false;
    const entries = [...this.#entries.values()];
    const topics = entries.map(({ name }) => name);
    if (!this.#kind.overlaps) this.#stream?.close();
    const refresh = this.#refresh;
    const http = refresh ? this.#http.as(refresh.token) : this.#http;
    const stream: Stream = this.#kind.open(
      { http, topics, positions: () => entries.map((entry) => entry.position) },
      {
        alive: () => {
          this.#heardAt = this.#clock.now();
        },
        received: (text) => {
          this.#received(stream, entries, text);
        },
        ended: (refusal, retry) => {
          if (this.#over) return;
          if (this.#refused(stream, refusal)) return;
          this.#end(refusal, retry);
        },
      },
    );
    this.#next = stream;
    if (refresh) refresh.stream = stream;
    this.#cancelTimeout?.();
    this.#cancelTimeout = this.#clock.after(this.#kind.timeout, () => {
      this.#end(undefined);
    });
  }

  /** The token of a `refresh` was not valid: the stream that is there goes on, or is opened again where only one may be open. */
  #refused(stream: Stream, refusal: Refusal | undefined): boolean {
    const refresh = this.#refresh;
    if (refresh?.stream !== stream || (refusal?.code !== "unauthenticated" && refusal?.code !== "token_expired")) return false;
    this.#refresh = this.#next = undefined;
    this.#cancelTimeout?.();
    this.#fail(refresh.ref, "invalid_token");
    this.#plan();
    return true;
  }

  #received(stream: Stream, entries: readonly Entry[], text: string): void {
    if (this.#over) return;
    let frame: ServerFrame;
    try {
      frame = JSON.parse(text) as ServerFrame;
    } catch {
      this.#listener.received(text); // which it will not understand either
      return;
    }
    if (frame.type === "welcome") this.#welcomed(stream, frame, text);
    else if (frame.type === "joined") this.#joined(stream, frame, entries[frame.ref - 1]);
    else if (frame.type === "error") this.#notJoined(frame, entries[(frame.ref ?? 0) - 1]);
    else if (frame.type === "event") this.#event(frame.topic, frame.offset, frame.stamp, text);
    else if ("topic" in frame) this.#about(frame, text);
    else {
      this.#warned ||= frame.type === "goodbye";
      this.#listener.received(text);
    }
  }

  #welcomed(stream: Stream, { payload }: Welcome, text: string): void {
    const known = this.#welcome;
    this.#welcome = payload;
    if (stream === this.#next) {
      this.#stream?.close();
      this.#stream = stream;
      this.#next = undefined;
      this.#cancelTimeout?.();
    }
    if (!known) this.#listener.received(text);
    else if (known.user !== payload.user) {
      this.#end(undefined); // the client itself has to hear of another user
      return;
    }
    const refresh = this.#refresh;
    if (refresh?.stream === stream) {
      this.#refresh = undefined;
      this.#http.token = refresh.token;
      this.#say({ type: "result", ref: refresh.ref, payload: { user: payload.user } });
    }
    if (this.#changed) this.#plan();
  }

  #joined(stream: Stream, frame: Joined, entry: Entry | undefined): void {
    if (!entry || this.#entries.get(entry.name) !== entry) return; // left since
    const { payload, topic } = frame;
    const { ref, position: before } = entry;
    // The next stream was asked for before this answer came, so it goes on from another position: only its own answer counts.
    if (ref !== undefined && this.#next && stream !== this.#next) return;
    entry.canonical = topic;
    if (payload.recovered !== true) entry.position = positionIn(payload);
    if (ref !== undefined) {
      entry.ref = undefined;
      this.#say({ ...frame, ref });
      return;
    }
    // The client has it already, and gets only the differences on the new stream.
    if (entry.position ? payload.recovered !== true : !this.#kind.overlaps) this.#reset(entry, before);
    const { members, count }: Known = payload;
    if (members ?? count) this.#say({ type: "presence", topic, payload: members ? { members } : { count } });
  }

  #reset({ canonical, position: at }: Entry, before: Position | undefined): void {
    const reason = !at ? "interrupted" : at.epoch === before?.epoch ? "trimmed" : "epoch";
    this.#say({ type: "reset", topic: canonical, payload: { reason, ...at } });
  }

  #notJoined(frame: Failure, entry: Entry | undefined): void {
    if (!entry) {
      this.#say(frame);
      return;
    }
    if (this.#entries.get(entry.name) !== entry) return;
    this.#entries.delete(entry.name);
    if (entry.ref !== undefined) this.#say({ ...frame, ref: entry.ref });
    else this.#say({ type: "left", topic: entry.canonical, payload: frame.payload });
  }

  #event(topic: string, offset: number | undefined, stamp: number | undefined, text: string): void {
    const entry = this.#named(topic);
    const at = entry?.position;
    if (!entry || entry.ref !== undefined || (at && offset !== undefined && offset <= at.offset)) return;
    if (at && offset !== undefined) entry.position = position(at.epoch, offset, stamp);
    this.#listener.received(text);
  }

  #about(frame: ServerFrame, text: string): void {
    const entry = "topic" in frame ? this.#named(frame.topic) : undefined;
    if (!entry || entry.ref !== undefined) return;
    if (frame.type === "reset") entry.position = positionIn(frame.payload);
    if (frame.type === "left") this.#entries.delete(entry.name);
    this.#listener.received(text);
  }

  #named(canonical: string): Entry | undefined {
    for (const entry of this.#entries.values()) if (entry.canonical === canonical) return entry;
    return undefined;
  }

  // ── the client's ear ───────────────────────────────────────────────────────────────────────────

  #say(frame: object): void {
    if (!this.#over) this.#listener.received(JSON.stringify(frame));
  }

  /** The client has not finished the request yet that this answers. */
  #sayLater(frame: { readonly type: Left["type"] | Failure["type"] | "pong"; readonly [field: string]: unknown }): void {
    this.#soon(() => {
      this.#say(frame);
    });
  }

  #soon(run: () => void): void {
    queueMicrotask(() => {
      if (!this.#over) run();
    });
  }

  /** End it as the server would on a WebSocket: with a goodbye when there is more to say than that it broke. */
  #end(refusal: Refusal | undefined, retry?: number): void {
    if (this.#over) return;
    this.close();
    const after = refusal?.after ?? (retry && retry / 1_000);
    const code = refusal?.code ?? "connection_lost";
    const goodbye: Goodbye["payload"] = { code, reconnect: !refusal?.final, ...(after && { after }) };
    if (!this.#warned && (refusal?.code !== undefined || after)) this.#listener.received(JSON.stringify({ type: "goodbye", payload: goodbye }));
    this.#listener.closed(1006, refusal ? `HTTP ${refusal.status}` : "");
  }
}

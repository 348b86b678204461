import type { Clock } from "../clock.js";
import { isFinal } from "../ending.js";
import type { Answer, Failure, ServerFrame, Welcome } from "../frames.js";
import type { Position } from "../position.js";
import { SharedCalls, type SaidCall } from "./calls.js";
import { Seat } from "./seat.js";
import type { Port } from "./port.js";
import { SharedTopic, type SharedTopicHost } from "./topic.js";
import type { OpenTransport, Transport } from "../transport.js";

export interface HubSettings {
  readonly clock: Clock;
  readonly url: string;
  /** The first message of the connection. */
  readonly hello: string;
  /** The tabs authenticate by token, each by its own. */
  readonly tokens: boolean;
}

/** What a tab sends after its hello. */
type Said =
  | { readonly type: "join"; readonly ref: number; readonly topic: string; readonly payload?: { readonly since?: Position } }
  | { readonly type: "leave"; readonly ref: number; readonly topic: string }
  | { readonly type: "refresh"; readonly ref: number; readonly payload: { readonly token: string } }
  | { readonly type: "ping" }
  | SaidCall;

/** A tab of which nothing was heard for so many milliseconds is asleep, and is sent away. A hidden tab is heard once a minute. */
const SILENT = 150_000;

/** Lists and objects within each other that the server takes in the arguments of a call. */
const DEPTH = 64;

/** One connection to the server for several tabs. Each hears what it would hear on a connection of its own. */
export class Hub {
  readonly #settings: HubSettings;
  readonly #ended: () => void;
  readonly #seats = new Set<Seat>();
  readonly #topics = new Set<SharedTopic>();
  readonly #byCanonical = new Map<string, SharedTopic>();
  readonly #answers = new Map<number, { readonly seat: Seat | undefined; readonly answered: (answer: Answer) => void; readonly size: number }>();
  readonly #pinged = new Set<Seat>();
  readonly #calls: SharedCalls;
  readonly #topicHost: SharedTopicHost;
  #first: Seat | undefined;
  #transport: Transport | undefined;
  #welcome: Welcome["payload"] | undefined;
  /** The text of a goodbye for good. The close that follows shows which tabs it concerns. */
  #farewell: string | undefined;
  #farewellCode: string | undefined;
  #refreshed: Seat | undefined;
  #lastRef = 0;
  /** The tab that last sent a message that awaits no answer. */
  #unasked: Seat | undefined;
  #over = false;

  /** `ended` runs once, when the connection has ended by itself, after all tabs have heard of it. */
  constructor(settings: HubSettings, ended: () => void) {
    this.#settings = settings;
    this.#ended = ended;
    const limit = (): number => this.#welcome?.limits.calls ?? 1;
    this.#calls = new SharedCalls({
      clock: settings.clock,
      get limit() {
        return limit();
      },
      request: (seat, request, answered) => {
        this.#request(seat, request, answered as (answer: Answer) => void);
      },
      send: (frame) => {
        this.#send(frame);
      },
    });
    this.#topicHost = {
      request: (request, answered) => {
        this.#request(undefined, request, answered as (answer: Answer) => void);
      },
      byCanonical: (name) => this.#byCanonical.get(name),
      joined: (topic) => {
        this.#byCanonical.set(topic.canonical, topic);
      },
      forget: (topic) => {
        this.#topics.delete(topic);
        if (this.#byCanonical.get(topic.canonical) === topic) this.#byCanonical.delete(topic.canonical);
      },
      idle: () => {
        this.#calls.flush();
      },
      after: (seconds, run) => settings.clock.after(seconds * 1_000, run),
    };
  }

  /** Connect. The leader's own tab has its seat already. */
  open(open: OpenTransport): void {
    const { url, hello } = this.#settings;
    if (this.#over) return;
    this.#transport = open(url, {
      opened: () => {
        this.#transport?.send(hello);
      },
      received: (data) => {
        if (!this.#over) this.#received(data);
      },
      closed: (code, reason) => {
        this.#closed(code, reason);
      },
    });
  }

  /** Close the connection. Other tabs hear that they have to come back. */
  close(code: number, reason: string): void {
    if (this.#over) return;
    this.#finish();
    this.#transport?.close(code);
    for (const seat of [...this.#seats]) {
      this.#seats.delete(seat);
      this.#calls.close(seat);
      seat.close(1006, reason);
    }
  }

  #finish(): void {
    this.#over = true;
    for (const topic of this.#topics) topic.close();
  }

  // ── tabs ───────────────────────────────────────────────────────────────────────────────────────

  seat(id: string, port: Port): Seat {
    const seat = new Seat(id, port, this.#settings.clock.now());
    this.#first ??= seat;
    this.#seats.add(seat);
    this.#calls.open(seat);
    if (this.#welcome) seat.say({ type: "welcome", payload: this.#welcome });
    return seat;
  }

  /** The tab is gone, or has been sent away. */
  drop(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    seat.over = true;
    this.#pinged.delete(seat);
    this.#calls.close(seat);
    for (const topic of [...this.#topics]) topic.leave(seat);
  }

  /** A message of a tab. */
  said(seat: Seat, text: string): void {
    if (this.#over || seat.over) return;
    const frame = JSON.parse(text) as Said;
    seat.heardAt = this.#settings.clock.now();
    if (frame.type === "ping") {
      this.#pinged.add(seat);
      this.#send(frame);
      return;
    }
    const wait = seat.count(seat.heardAt);
    if (frame.type === "leave") this.#leave(seat, frame.ref, frame.topic);
    else if (wait > 0) seat.fail(frame.ref, "rate_limited", undefined, wait);
    else if (frame.type === "join") this.#join(seat, frame.ref, frame.topic, frame.payload?.since);
    else if (frame.type === "call") this.#call(seat, frame, text);
    else this.#refresh(seat, frame.ref, frame.payload.token);
    this.#sweep();
  }

  #join(seat: Seat, ref: number, name: string, since: Position | undefined): void {
    let topic = this.#named(name);
    if (!topic) this.#topics.add((topic = new SharedTopic(name, this.#topicHost)));
    topic.join(seat, ref, since);
  }

  #leave(seat: Seat, ref: number, name: string): void {
    const topic = this.#named(name);
    if (!topic?.has(seat)) {
      seat.fail(ref, "not_joined", name);
      return;
    }
    topic.leave(seat);
    seat.say({ type: "left", ref, topic: name });
  }

  #call(seat: Seat, call: SaidCall, text: string): void {
    const topic = this.#named(call.topic);
    if (!topic?.has(seat)) seat.fail(call.ref, "not_joined");
    // The server may find no `ref` in what is nested too deeply, and then all tabs would suspect their calls.
    else if (isDeeper(text, DEPTH + 1)) seat.fail(call.ref, "invalid_payload");
    else {
      if (call.ref === undefined) this.#unasked = seat;
      this.#calls.add(seat, call, topic);
    }
  }

  #refresh(seat: Seat, ref: number, token: string): void {
    this.#refreshed = seat;
    this.#request(seat, { type: "refresh", payload: { token } }, (answer) => {
      this.#refreshed = undefined;
      seat.say({ ...answer, ref });
    });
  }

  #named(name: string): SharedTopic | undefined {
    for (const topic of this.#topics) if (topic.names.has(name) || topic.canonical === name) return topic;
    return undefined;
  }

  // ── the server ─────────────────────────────────────────────────────────────────────────────────

  #send(frame: object): void {
    if (!this.#over) this.#transport?.send(JSON.stringify(frame));
  }

  #request(seat: Seat | undefined, request: object, answered: (answer: Answer) => void): void {
    if (this.#over) return;
    const ref = ++this.#lastRef;
    const text = JSON.stringify({ ...request, ref });
    this.#answers.set(ref, { seat, answered, size: text.length });
    this.#transport?.send(text);
  }

  #received(data: unknown): void {
    let frame: ServerFrame;
    try {
      frame = JSON.parse(data as string) as ServerFrame;
    } catch {
      // No tab would understand it either.
      this.#transport?.close(1000);
      this.#closed(1006, "the server sent something that is no message");
      return;
    }
    this.#route(frame, data as string);
    this.#sweep();
  }

  #route(frame: ServerFrame, text: string): void {
    const { ref } = frame as Partial<Answer>;
    if (ref !== undefined) {
      const request = this.#answers.get(ref);
      this.#answers.delete(ref);
      request?.answered(frame as Answer);
    } else if ("topic" in frame && frame.type !== "error") this.#about(frame, text);
    else if (frame.type === "ping") this.#first?.hear(text);
    else if (frame.type === "pong") {
      for (const seat of this.#pinged) seat.hear(text);
      this.#pinged.clear();
    } else if (frame.type === "error") this.#complaint(frame, text);
    else if (frame.type === "goodbye" && !frame.payload.reconnect) {
      this.#farewell = text;
      this.#farewellCode = frame.payload.code;
    } else {
      if (frame.type === "welcome") this.#welcome = frame.payload;
      for (const seat of this.#seats) seat.hear(text);
    }
  }

  #about(frame: ServerFrame & { readonly topic: string }, text: string): void {
    const topic = this.#byCanonical.get(frame.topic);
    if (!topic?.listening) return;
    if (frame.type === "event") topic.event(frame, text);
    else if (frame.type === "reset") topic.reset(frame, text);
    else if (frame.type === "presence") topic.presence(frame, text);
    else if (frame.type === "left") topic.left(frame);
  }

  /** An error without `ref` is about a message that awaits no answer, or about any that the server could not read. */
  #complaint(frame: Failure, text: string): void {
    if (frame.payload.code === "rate_limited") {
      if (this.#unasked) this.#unasked.refusedUntil = this.#settings.clock.now() + (frame.payload.retry_after ?? 1) * 1_000;
      this.#unasked?.hear(text);
      return;
    }
    for (const seat of this.#seats) if (seat === this.#unasked || this.#calls.unanswered(seat)) seat.hear(text);
  }

  /** Send away what has become silent, or reads too slowly. */
  #sweep(): void {
    const now = this.#settings.clock.now();
    for (const seat of [...this.#seats]) {
      if (seat !== this.#first && now - seat.heardAt > SILENT) seat.close(1006, "the tab was silent");
      if (seat.over) this.drop(seat);
    }
  }

  /** The end of the connection means to each tab what it would mean on a connection of its own. */
  #closed(code: number, reason: string): void {
    if (this.#over) return;
    this.#finish();
    const guilty = this.#guilty(code);
    for (const seat of [...this.#seats]) {
      this.#seats.delete(seat);
      this.#calls.close(seat);
      if (!guilty || seat === guilty) {
        if (this.#farewell !== undefined) seat.hear(this.#farewell);
        seat.close(code, reason);
      } else seat.close(1006, `another tab ended the shared connection (${code})`);
    }
    this.#ended();
  }

  /** The tab that a close concerns, if it does not concern all of them. The others come back. */
  #guilty(code: number): Seat | undefined {
    if (code === 1009) return this.#largest();
    if (!isFinal(code) && this.#farewell === undefined) return undefined;
    // Another tab has another token, which may be valid.
    if (this.#settings.tokens && (code === 4401 || this.#farewellCode === "unauthenticated")) return this.#refreshed ?? this.#first;
    return this.#refreshed;
  }

  /** Who has sent the longest message that has no answer. */
  #largest(): Seat | undefined {
    return [...this.#answers.values()].sort((one, other) => other.size - one.size)[0]?.seat;
  }
}

function isDeeper(text: string, most: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let place = 0; place < text.length; place++) {
    const each = text[place];
    if (quoted) {
      if (each === "\\") place++;
      else if (each === '"') quoted = false;
    } else if (each === '"') quoted = true;
    else if (each === "{" || each === "[") {
      if (++depth > most) return true;
    } else if (each === "}" || each === "]") depth--;
  }
  return false;
}

import { readdirSync, readFileSync } from "node:fs";

import { expect } from "vitest";

import type { Welcome } from "../src/frames.js";
import { connect, type BackoffOptions, type Live, type LiveError, type Position, type Topic } from "../src/index.js";
import { ManualClock, settle } from "./clock.js";
import { FakeServer, type FakeSocket, type Sent } from "./server.js";

/** One step of a scenario: what the application, the server or time does, or what must have happened. */
export type Step = Readonly<Record<string, unknown>>;

export interface Scenario {
  readonly name: string;
  /** What a client must have for this scenario. */
  readonly needs?: readonly string[];
  /** The steps that come first, by name. */
  readonly begin?: string;
  readonly chance?: number;
  readonly token?: string;
  readonly tokens?: readonly (string | null)[];
  readonly backoff?: BackoffOptions;
  readonly steps: readonly Step[];
}

const FOLDER = new URL("../../conformance/behaviour/", import.meta.url);

function read(file: string): unknown {
  return JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
}

const BEGINNINGS = read("beginnings.json") as Readonly<Record<string, readonly Step[]>>;

/** All scenarios of conformance/behaviour, whose README describes the steps. */
export const SCENARIOS: readonly Scenario[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json") && file !== "beginnings.json")
  .sort()
  .flatMap((file) => read(file) as readonly Scenario[]);

/** Whether a look at what was sent shows a message: a hello where the step names one, and pings never, which are counted. */
function shown(type: string, named: readonly string[]): boolean {
  return type !== "ping" && (type !== "hello" || named.includes(type));
}

/** Plays one scenario on the client, in simulated time. */
export class Stage {
  readonly #scenario: Scenario;
  readonly #clock = new ManualClock();
  readonly #server = new FakeServer();
  readonly #live: Live;
  readonly #topics = new Map<string, Topic>();
  readonly #events = new Map<string, unknown[]>();
  readonly #variables = new Map<string, unknown>();
  readonly #looked = new Map<FakeSocket, number>();
  readonly #tokens: (string | null)[];
  #answers: Record<string, unknown> = {};
  #over: string | null = null;
  #closing = false;
  #attempts = 0;
  #pings = 0;

  constructor(scenario: Scenario) {
    const { chance = 0.5, token, tokens, backoff } = scenario;
    this.#scenario = scenario;
    this.#tokens = [...(tokens ?? [])];
    this.#live = connect({
      url: "ws://server/live/ws",
      WebSocket: this.#server.WebSocket,
      clock: this.#clock,
      random: () => chance,
      shared: false,
      token: tokens ? () => this.#nextToken() : token,
      backoff: backoff && { base: backoff.base * 1_000, cap: backoff.cap * 1_000 },
    });
    this.#live.on("status", (status, { error }) => {
      this.#over = status === "closed" ? (error?.code ?? null) : null;
    });
  }

  async play(): Promise<void> {
    const { begin = "", steps } = this.#scenario;
    for (const step of [...(BEGINNINGS[begin] ?? []), ...steps]) {
      await settle();
      try {
        await this.#step(step);
      } catch (error) {
        if (error instanceof Error) error.message = `${JSON.stringify(step)}\n${error.message}`;
        throw error;
      }
    }
    await settle();
    this.#nothingIsLeft();
    this.#closing = true;
    this.#live.close();
    await this.#clock.advance(60_000);
    expect(this.#clock.waiting, "timers that are left").toBe(0);
  }

  #nothingIsLeft(): void {
    expect(this.#sent([]), "messages that no step expects").toEqual([]);
    for (const topic of this.#events.keys()) expect(this.#told(topic), "events that no step expects").toEqual([]);
    expect(this.#answers, "answers that no step expects").toEqual({});
  }

  async #step(step: Step): Promise<void> {
    const [kind = "", value] = Object.entries(step)[0] ?? [];
    const topic = typeof step["topic"] === "string" ? step["topic"] : "rooms/lobby";
    if (await this.#serverDoes(kind, value)) return;
    if (this.#applicationDoes(kind, value, step, topic)) return;
    this.#mustBe(kind, value, topic);
  }

  async #serverDoes(kind: string, value: unknown): Promise<boolean> {
    if (kind === "open") await this.#server.socket.open();
    else if (kind === "welcome") {
      if (!this.#server.socket.sent.length) await this.#server.socket.open();
      await this.#server.socket.welcome(value as Partial<Welcome["payload"]>);
    } else if (kind === "say") await this.#server.socket.say(this.#filled(value) as { readonly type: string });
    else if (kind === "say_text") this.#server.socket.onmessage?.({ data: value });
    else if (kind === "drop") await this.#server.socket.drop(value as number);
    else if (kind === "pass") await this.#clock.advance((value as number) * 1_000);
    else return false;
    return true;
  }

  #applicationDoes(kind: string, value: unknown, step: Step, topic: string): boolean {
    if (kind === "join") this.#join(value as string, step["since"] as Position | undefined);
    else if (kind === "leave") this.#topics.get(value as string)?.leave();
    else if (kind === "call") this.#call(topic, value as string, step);
    else if (kind === "refresh") this.#note(step["as"], this.#live.refresh(value as string));
    else if (kind === "reconnect") this.#live.reconnect();
    else if (kind === "close") {
      this.#closing = true;
      this.#live.close();
    } else return false;
    return true;
  }

  #mustBe(kind: string, value: unknown, topic: string): void {
    if (kind === "sent") {
      const sent = this.#sent((value as readonly Sent[]).map(({ type }) => type));
      expect(sent).toEqual(this.#bound(value, sent));
    } else if (kind === "events") expect(this.#told(topic)).toEqual(value);
    else if (kind === "answers") {
      expect(this.#answers).toEqual(value);
      this.#answers = {};
    } else if (kind === "attempts") {
      expect(this.#server.sockets.length - this.#attempts).toBe(value);
      this.#attempts = this.#server.sockets.length;
    } else if (kind === "pings") {
      const pings = this.#server.sockets.flatMap((socket) => socket.of("ping")).length;
      expect(pings - this.#pings).toBe(value);
      this.#pings = pings;
    } else if (kind === "over") expect(this.#over).toBe(value);
    else if (kind === "position") expect(this.#topics.get(topic)?.position ?? null).toEqual(value);
    else if (kind === "snapshot") expect(this.#topics.get(topic)?.state.joined?.snapshot).toEqual(value);
    else if (kind === "members") {
      const { listed, members, count } = this.#topics.get(topic)?.presence ?? {};
      expect(listed ? members?.map(({ id }) => id).sort() : (count ?? null)).toEqual(value);
    } else throw new Error(`there is no such step: ${kind}`);
  }

  // ── the application ────────────────────────────────────────────────────────────────────────────

  #nextToken(): string {
    const token = this.#tokens.shift();
    if (token) return token;
    throw new Error("no token now");
  }

  #join(name: string, since: Position | undefined): void {
    const topic = this.#live.topic(name, since ? { since } : {});
    if (this.#topics.get(name) === topic) return;
    const told = this.#events.get(name) ?? [];
    this.#topics.set(name, topic);
    this.#events.set(name, told);
    const ended = (code: string | undefined): void => {
      if (code && !this.#closing) told.push({ ended: code });
    };
    topic.on("*", (payload) => told.push(payload));
    topic.lifecycle.on("joined", ({ recovered }) => recovered || told.push({ gap: "lost" }));
    topic.lifecycle.on("reset", ({ reason }) => told.push({ gap: reason }));
    topic.lifecycle.on("refused", ({ error }) => {
      ended(error.code);
    });
    topic.lifecycle.on("left", ({ error }) => {
      ended(error?.code);
    });
  }

  #call(topic: string, name: string, { as, payload, key, timeout }: Step): void {
    const options = {
      ...(typeof key === "string" && { key }),
      ...(typeof timeout === "number" && { timeout: timeout * 1_000 }),
    };
    const answer = this.#topics.get(topic)?.call(name, payload as object | undefined, options);
    this.#note(as, answer);
  }

  #note(as: unknown, answer: Promise<unknown> | undefined): void {
    answer?.then(
      (result) => (this.#answers[as as string] = { result: result ?? null }),
      (error: unknown) => {
        const { code, reason, errors } = error as LiveError;
        if (!this.#closing) this.#answers[as as string] = { error: code, ...(reason && { reason }), ...(errors ? { errors } : {}) };
      },
    );
  }

  /** What the application has heard of a topic since the last look. */
  #told(topic: string): unknown[] {
    return this.#events.get(topic)?.splice(0) ?? [];
  }

  // ── the wire ───────────────────────────────────────────────────────────────────────────────────

  /** What the client has sent since the last look. An empty payload is as good as none. */
  #sent(named: readonly string[]): Sent[] {
    return this.#server.sockets.flatMap((socket) => {
      const sent = socket.sent.slice(this.#looked.get(socket) ?? 0);
      this.#looked.set(socket, socket.sent.length);
      return sent
        .filter(({ type }) => shown(type, named))
        .map(({ payload, ...frame }) => (payload && Object.keys(payload).length ? { ...frame, payload } : frame));
    });
  }

  /** What is expected, with its variables in place. One that is not known yet takes its value from what was sent. */
  #bound(expected: unknown, sent: unknown): unknown {
    if (typeof expected === "string" && expected.startsWith("$")) {
      if (!this.#variables.has(expected)) this.#variables.set(expected, sent);
      return this.#variables.get(expected);
    }
    if (Array.isArray(expected)) return expected.map((item, at) => this.#bound(item, (sent as unknown[] | undefined)?.[at]));
    if (typeof expected !== "object" || !expected) return expected;
    const found = (sent ?? {}) as Readonly<Record<string, unknown>>;
    return Object.fromEntries(Object.entries(expected).map(([key, item]) => [key, this.#bound(item, found[key])]));
  }

  #filled(message: unknown): unknown {
    return this.#bound(message, undefined);
  }
}

import * as Y from "yjs";

import { fromBase64, toBase64 } from "../src/base64.js";
import type { Random } from "./random.js";
import type { FakeServer, FakeSocket, Sent } from "./server.js";

export const PAD = "pads/plans";

interface Wire {
  readonly client: number;
  readonly socket: FakeSocket;
  readonly inbound: Sent[];
  readonly outbound: object[];
  joined: boolean;
  up: boolean;
}

/**
 * A server with one shared document for several clients, over a network that keeps no promise: connections break at any
 * message in either direction, events come twice, calls are refused for a while, the log is trimmed, and a backup is restored.
 */
export class PadServer {
  doc = new Y.Doc();
  /** Updates and states of editors as they came in. */
  readonly taken: Uint8Array[] = [];
  readonly refused: string[] = [];
  #epoch = 1;
  /** Offset 1 is at index 0. */
  #log: string[] = [];
  #trimmed = 0;
  #backup = { state: Y.encodeStateAsUpdate(new Y.Doc()), head: 0 };
  readonly #parts = new Map<string, string>();
  readonly #wires: Wire[] = [];
  readonly #away = new Set<number>();
  readonly #random: Random;

  constructor(servers: readonly FakeServer[], random: Random) {
    this.#random = random;
    servers.forEach((server, client) => {
      server.onconnect = (socket) => {
        const wire: Wire = { client, socket, inbound: [], outbound: [], joined: false, up: true };
        socket.onsend = (frame) => wire.inbound.push(frame);
        this.#wires.push(wire);
      };
    });
  }

  // ── what goes wrong ────────────────────────────────────────────────────────────────────────────

  async drop(client: number): Promise<void> {
    for (const wire of this.#wires.filter((each) => each.up && each.client === client)) {
      wire.up = false;
      wire.outbound.length = 0;
      while (wire.inbound.length && this.#random.chance(0.6)) this.#read(wire);
      wire.inbound.length = 0;
      wire.joined = false;
      await wire.socket.drop();
    }
  }

  /** This client's connections are not answered. */
  async away(client: number): Promise<void> {
    this.#away.add(client);
    await this.drop(client);
  }

  back(client: number): void {
    this.#away.delete(client);
  }

  trim(): void {
    this.#trimmed = this.#log.length;
  }

  backUp(): void {
    this.#backup = { state: Y.encodeStateAsUpdate(this.doc), head: this.#log.length };
  }

  /** Go back to the backup: another log, and the document as it was. */
  async restore(): Promise<void> {
    for (const { client } of [...this.#wires]) await this.drop(client);
    this.#epoch++;
    this.#log = [];
    this.#trimmed = 0;
    this.doc = new Y.Doc();
    Y.applyUpdate(this.doc, this.#backup.state);
  }

  /** The document as a page has it, with its position. */
  rendered(): string {
    const document = toBase64(Y.encodeStateAsUpdate(this.doc));
    return JSON.stringify({ epoch: `k${this.#epoch}`, offset: this.#log.length, document });
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────

  async step(): Promise<void> {
    const up = this.#wires.filter(({ up, client }) => up && !this.#away.has(client));
    const wire = up[this.#random.below(up.length)];
    if (!wire) return;
    if (wire.socket.closedWith === undefined && !wire.socket.sent.length) await wire.socket.open();
    else if (this.#random.chance(0.5)) this.#read(wire);
    else await this.#deliver(wire);
  }

  /** Let everything that is under way arrive. */
  async drain(): Promise<void> {
    for (const wire of this.#wires) {
      if (!wire.up || wire.socket.closedWith !== undefined || this.#away.has(wire.client)) continue;
      if (!wire.socket.sent.length) await wire.socket.open();
      while (wire.inbound.length || wire.outbound.length) {
        this.#read(wire);
        await this.#deliver(wire);
      }
    }
  }

  async #deliver(wire: Wire): Promise<void> {
    const frame = wire.outbound.shift();
    if (frame && wire.up) await wire.socket.say(frame as { type: string });
  }

  #read(wire: Wire): void {
    const frame = wire.inbound.shift();
    if (!frame) return;
    const { type, ref } = frame;
    const answer = (message: object): void => {
      if (ref !== undefined) wire.outbound.push({ ref, topic: PAD, ...message });
    };
    if (type === "hello") {
      const limits = { message_bytes: 65_536, topics: 100, calls: 3 };
      wire.outbound.push({ type: "welcome", payload: { session: "s", user: String(wire.client), heartbeat: 25, limits } });
    } else if (type === "ping") wire.outbound.push({ type: "pong" });
    else if (type === "join") this.#join(wire, frame);
    else if (type === "leave") {
      wire.joined = false;
      answer({ type: "left" });
    } else if (!wire.joined) answer({ type: "error", payload: { code: "not_joined", message: "" } });
    else if (frame.name !== "aware" && this.#random.chance(0.05)) {
      answer({ type: "error", payload: { code: "rate_limited", message: "", retry_after: 0.2 } });
    } else {
      const payload = this.#call(wire, frame);
      const [type, what] = typeof payload === "object" && payload ? ["error", payload] : ["result", payload];
      answer({ type, payload: what });
    }
  }

  #join(wire: Wire, { ref, payload }: Sent): void {
    if (this.#random.chance(0.1)) {
      wire.outbound.push({ type: "error", ref, payload: { code: "unavailable", message: "", retry_after: 0.1 } });
      return;
    }
    const head = this.#log.length;
    const epoch = `k${this.#epoch}`;
    const since = payload?.["since"] as { epoch: string; offset: number } | undefined;
    const recovered = since?.epoch === epoch && since.offset >= this.#trimmed && since.offset <= head;
    const snapshot = recovered ? {} : { snapshot: { state: toBase64(Y.encodeStateAsUpdate(this.doc)) } };
    wire.joined = true;
    wire.outbound.push({ type: "joined", ref, topic: PAD, payload: { epoch, offset: head, ...(since && { recovered }), ...snapshot } });
    if (recovered) for (let offset = since.offset + 1; offset <= head; offset++) wire.outbound.push(this.#event(offset));
  }

  /** Carry a call out. Returns its result, or the payload of an error. */
  #call(wire: Wire, { name, payload = {} }: Sent): unknown {
    const text = (key: string): string => (payload[key] ?? "") as string;
    if (name === "state") return toBase64(Y.encodeStateAsUpdate(this.doc));
    if (name === "aware") {
      const event = { by: String(wire.client), member: String(wire.client), user: { name: `user ${wire.client}` }, ...payload };
      this.#send({ type: "event", topic: PAD, name: "editor.moved", payload: event });
      return null;
    }
    const parts = this.#parts.get(text("upload")) ?? "";
    if (name === "part") {
      this.#parts.set(text("upload"), parts + text("data"));
      return null;
    }
    this.#parts.delete(text("upload"));
    return this.take(fromBase64(parts + text("data")));
  }

  /** Take an update as the server does: it has to be complete, and what is known already is not passed on. */
  take(update: Uint8Array): unknown {
    const trial = new Y.Doc();
    Y.applyUpdate(trial, Y.encodeStateAsUpdate(this.doc));
    const news: Uint8Array[] = [];
    trial.on("update", (each) => news.push(each));
    Y.applyUpdate(trial, update);
    if (trial.store.pendingStructs ?? trial.store.pendingDs) {
      this.refused.push("behind");
      return { code: "refused", reason: "behind", message: "" };
    }
    if (!news.length) return null;
    Y.applyUpdate(this.doc, update);
    this.taken.push(update);
    this.#log.push(toBase64(update));
    this.#send(this.#event(this.#log.length));
    if (this.#random.chance(0.1)) this.#send(this.#event(1 + this.#random.below(this.#log.length)));
    return null;
  }

  #event(offset: number): object {
    return { type: "event", topic: PAD, name: "document.updated", offset, payload: { data: this.#log[offset - 1] } };
  }

  #send(frame: object): void {
    for (const wire of this.#wires) if (wire.joined) wire.outbound.push(frame);
  }
}

import type { FakeServer, FakeSocket, Sent } from "./server.js";
import type { Random } from "./random.js";

interface Wire {
  readonly socket: FakeSocket;
  /** What the client sent and the server has not read yet. */
  readonly inbound: Sent[];
  /** What the server sent and the client has not got yet. */
  readonly outbound: object[];
  readonly joined: Set<string>;
  /** As the hello said. */
  client: string;
  up: boolean;
}

interface Log {
  epoch: string;
  /** Offset 1 is at index 0. */
  readonly entries: number[];
  /** Offsets up to this one are past retention. */
  trimmed: number;
}

/**
 * A server that keeps the promises of PROTOCOL.md over a network that keeps none: connections break at any
 * message, in either direction, and events come twice.
 */
export class ModelServer {
  readonly logs = new Map<string, Log>();
  /** Calls in the order in which they were carried out. */
  readonly done: string[] = [];
  /** Topics whose joins bring a snapshot, as large as the log. */
  readonly snapshots = new Set<string>();
  /** An anonymous client's keys belong to the client. */
  user: string | null = "7";
  readonly #answers = new Map<string, number>();
  readonly #wires: Wire[] = [];
  readonly #random: Random;

  constructor(server: FakeServer, random: Random) {
    this.#random = random;
    server.onconnect = (socket) => {
      const wire: Wire = { socket, inbound: [], outbound: [], joined: new Set(), client: "", up: true };
      socket.onsend = (frame) => wire.inbound.push(frame);
      this.#wires.push(wire);
    };
  }

  log(topic: string): Log {
    const log = this.logs.get(topic) ?? { epoch: "k1", entries: [], trimmed: 0 };
    this.logs.set(topic, log);
    return log;
  }

  publish(topic: string, value: number): void {
    const log = this.log(topic);
    log.entries.push(value);
    for (const wire of this.#wires) {
      if (!wire.joined.has(topic)) continue;
      wire.outbound.push(this.#event(topic, log.entries.length));
      if (this.#random.chance(0.1)) wire.outbound.push(this.#event(topic, 1 + this.#random.below(log.entries.length)));
    }
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#wires.filter(({ up, socket }) => up && socket.closedWith === undefined).length;
  }

  /** Let something happen on the wires. */
  async step(): Promise<void> {
    const wire = this.#wires[this.#random.below(this.#wires.length)];
    if (!wire) return;
    if (wire.up && wire.socket.closedWith === undefined && !wire.socket.sent.length) await wire.socket.open();
    else if (this.#random.chance(0.5)) this.#read(wire);
    else await this.#deliver(wire);
  }

  async drop(): Promise<void> {
    for (const wire of this.#wires) {
      if (!wire.up || !this.#random.chance(0.7)) continue;
      wire.up = false;
      wire.outbound.length = 0;
      // What the server had in hand it may still carry out, though no client receives the answer.
      while (wire.inbound.length && this.#random.chance(0.7)) this.#read(wire);
      wire.inbound.length = 0;
      wire.joined.clear();
      if (this.#random.chance(0.3)) {
        await wire.socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 0.2 } });
      }
      await wire.socket.drop([1006, 4000, 4001, 1012][this.#random.below(4)]);
    }
  }

  /** Let everything that is under way arrive. */
  async drain(): Promise<boolean> {
    let moved = false;
    for (const wire of this.#wires.filter(({ up }) => up)) {
      if (wire.socket.closedWith !== undefined) continue;
      if (!wire.socket.sent.length) await wire.socket.open();
      while (wire.inbound.length || wire.outbound.length) {
        moved = true;
        this.#read(wire);
        await this.#deliver(wire);
      }
    }
    return moved;
  }

  async #deliver(wire: Wire): Promise<void> {
    const frame = wire.outbound.shift();
    if (frame && wire.up) await wire.socket.say(frame as { type: string });
  }

  #read(wire: Wire): void {
    const frame = wire.inbound.shift();
    if (!frame) return;
    const { type, ref, topic = "" } = frame;
    if (type === "hello") {
      wire.client = String(frame.payload?.["client"]);
      const limits = { message_bytes: 65_536, topics: 100, calls: 3 };
      wire.outbound.push({ type: "welcome", payload: { session: "s", user: this.user, heartbeat: 25, limits } });
    } else if (type === "ping") {
      wire.outbound.push({ type: "pong" });
    } else if (type === "join") {
      this.#join(wire, frame, topic);
    } else if (type === "leave") {
      wire.joined.delete(topic);
      wire.outbound.push({ type: "left", ref, topic });
    } else {
      this.#call(wire, frame, topic);
    }
  }

  #join(wire: Wire, { ref, payload }: Sent, topic: string): void {
    if (this.#random.chance(0.15)) {
      wire.outbound.push({ type: "error", ref, payload: { code: "unavailable", message: "", retry_after: 0.1 } });
      return;
    }
    if (wire.joined.has(topic)) {
      wire.outbound.push({ type: "error", ref, topic, payload: { code: "already_joined", message: "" } });
      return;
    }
    const log = this.log(topic);
    const head = log.entries.length;
    const since = payload?.["since"] as { epoch: string; offset: number } | undefined;
    const recovered = since?.epoch === log.epoch && since.offset >= log.trimmed && since.offset <= head;
    wire.joined.add(topic);
    wire.outbound.push({
      type: "joined",
      ref,
      topic,
      payload: { epoch: log.epoch, offset: head, ...(since && { recovered }), ...(this.snapshots.has(topic) && !recovered && { snapshot: head }) },
    });
    if (recovered) for (let offset = since.offset + 1; offset <= head; offset++) wire.outbound.push(this.#event(topic, offset));
  }

  #call(wire: Wire, { ref, key: given = "", payload }: Sent, topic: string): void {
    const key = this.user === null ? `${wire.client} ${given}` : given;
    if (!wire.joined.has(topic)) {
      wire.outbound.push({ type: "error", ref, payload: { code: "not_joined", message: "" } });
      return;
    }
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      answer = Number(payload?.["n"]);
      this.#answers.set(key, answer);
      this.done.push(`${topic} ${answer}`);
    }
    wire.outbound.push({ type: "result", ref, payload: answer });
  }

  #event(topic: string, offset: number): object {
    return { type: "event", topic, name: "counted", offset, payload: this.log(topic).entries[offset - 1] };
  }
}

import type { Cancel } from "../clock.js";
import { errorFrom } from "../errors.js";
import type { ErrorPayload, Event, Failure, Joined, Known, Left, PresenceFrame, Reset } from "../frames.js";
import { positionIn, position as positionAt, type Position } from "../position.js";
import { MemberList } from "../presence.js";
import { Recent } from "./recent.js";
import type { Seat } from "./seat.js";

/** What a shared topic needs of the connection around it. */
export interface SharedTopicHost {
  /** Send a request; the answer comes once, unless the connection ends first. */
  request(request: object, answered: (answer: Joined | Left | Failure) => void): void;
  /** The topic that the server knows by this name. */
  byCanonical(name: string): SharedTopic | undefined;
  /** The topic is joined under this name. */
  joined(topic: SharedTopic): void;
  /** No tab is in it any more. */
  forget(topic: SharedTopic): void;
  /** Calls of the topic may go on. */
  idle(): void;
  after(seconds: number, run: () => void): Cancel;
}

/** A tab's join that has no answer yet. */
interface Waiting {
  readonly seat: Seat;
  readonly ref: number;
  readonly since: Position | undefined;
}

/**
 * One topic for all tabs that are in it. The server knows one subscription. Each tab has its own position, and hears only what is
 * beyond it.
 *
 * A tab that comes later is answered from what is kept of the stream, where that is enough. Otherwise the topic is left and joined
 * again from the position of that tab, and the others pass over what they have seen. If the new stream does not begin where the
 * others are, it is joined once more from there.
 */
export class SharedTopic {
  readonly names = new Set<string>();
  readonly #host: SharedTopicHost;
  #canonical: string;
  /** The tabs that are in, and how far each has got; ephemeral topics have no position. */
  readonly #tabs = new Map<Seat, Position | undefined>();
  /** Those that the present stream does not serve: it begins beyond their positions, and another one is on its way. */
  readonly #behind = new Set<Seat>();
  readonly #queue: Waiting[] = [];
  /** Whose join is on the wire; `others` when it is for tabs that are in already. */
  #wire: Waiting | "others" | undefined;
  /** The server has a subscription, or had one until the leave that precedes a join on the wire. */
  #subscribed = false;
  #recent = new Recent();
  readonly #members = new MemberList();
  #declared: readonly string[] | undefined;
  /** What calls are answered with that wait for a subscription which the server has ended. */
  refusal = "not_joined";
  #cancelRetry: Cancel | undefined;
  #over = false;

  constructor(name: string, host: SharedTopicHost) {
    this.#canonical = name;
    this.names.add(name);
    this.#host = host;
  }

  get canonical(): string {
    return this.#canonical;
  }

  /** A join is on the wire, and calls have to wait. */
  get busy(): boolean {
    return this.#wire !== undefined;
  }

  /** The server tells of it now under its canonical name. */
  get listening(): boolean {
    return this.#subscribed;
  }

  has(seat: Seat): boolean {
    return this.#tabs.has(seat);
  }

  wants(seat: Seat): boolean {
    return this.has(seat) || (this.#wire !== "others" && this.#wire?.seat === seat) || this.#queue.some((each) => each.seat === seat);
  }

  // ── tabs ───────────────────────────────────────────────────────────────────────────────────────

  join(seat: Seat, ref: number, since: Position | undefined): void {
    if (this.wants(seat)) {
      seat.fail(ref, "already_joined", this.#canonical);
      return;
    }
    this.#queue.push({ seat, ref, since });
    this.#step();
  }

  leave(seat: Seat): void {
    this.#tabs.delete(seat);
    this.#behind.delete(seat);
    this.#stopRetry();
    const place = this.#queue.findIndex((each) => each.seat === seat);
    if (place >= 0) this.#queue.splice(place, 1);
    this.#end();
  }

  /** No tab waits for the next try, so nothing is on the wire. */
  #stopRetry(): void {
    if (!this.#cancelRetry || this.#tabs.size) return;
    this.#cancelRetry();
    this.#cancelRetry = this.#wire = undefined;
    this.#step();
  }

  #end(): void {
    // The answer to a join on the wire comes here again.
    if (this.#over || this.#tabs.size || this.#queue.length || this.#wire) return;
    if (this.#subscribed) this.#host.request({ type: "leave", topic: this.#canonical }, () => undefined);
    this.#subscribed = false;
    this.#forget();
  }

  #forget(): void {
    this.close();
    this.#host.forget(this);
  }

  /** The connection is gone. */
  close(): void {
    this.#over = true;
    this.#cancelRetry?.();
  }

  get #name(): string {
    return [...this.names][0] ?? this.#canonical;
  }

  // ── joins ──────────────────────────────────────────────────────────────────────────────────────

  /** Answer the joins that wait, until one takes the server. */
  #step(): void {
    while (!this.#wire) {
      const next = this.#queue.shift();
      if (!next) break;
      if (!this.#serve(next)) this.#join(next);
    }
    if (!this.#wire) this.#host.idle();
  }

  /** Answer a join from what is kept. Returns false if that is not enough. */
  #serve({ seat, ref, since }: Waiting): boolean {
    if (!this.#subscribed || !this.#tabs.size) return false;
    const found = this.#recent.after(since);
    if (!found) return false;
    const payload = { ...found.payload, ...(this.#declared && { events: this.#declared }), ...this.#present() };
    this.#tabs.set(seat, found.from);
    seat.say({ type: "joined", ref, topic: this.#canonical, payload });
    for (const event of found.events) this.#give(seat, event.frame, event.text);
    return true;
  }

  #join(wire: Waiting | "others"): void {
    this.#cancelRetry = undefined;
    const since = wire === "others" ? this.#furthestBehind() : wire.since;
    if (this.#subscribed) this.#host.request({ type: "leave", topic: this.#canonical }, () => undefined);
    this.#wire = wire;
    this.#host.request({ type: "join", topic: this.#name, ...(since && { payload: { since } }) }, (answer) => {
      if (answer.type === "joined") this.#joined(answer, wire, since);
      else if (answer.type === "error") this.#refused(answer, wire);
    });
  }

  #joined(frame: Joined, wire: Waiting | "others", since: Position | undefined): void {
    const { payload, topic } = frame;
    const start = payload.recovered === true ? since : positionIn(payload);
    this.#wire = undefined;
    this.#subscribed = true;
    this.refusal = "not_joined";
    this.#canonical = topic;
    this.#declared = payload.events;
    this.#recent.begin(start, payload);
    this.#host.joined(this);
    this.#members.clear();
    this.#members.take(payload);
    const mine = wire !== "others" && !wire.seat.over ? wire : undefined;
    this.#behind.clear();
    for (const [seat, at] of this.#tabs) this.#resumed(seat, at, start, wire === "others");
    if (mine) {
      this.#tabs.set(mine.seat, start);
      mine.seat.say({ ...frame, ref: mine.ref });
    }
    this.#end();
    if (this.#behind.size) this.#join("others");
    else this.#step();
  }

  /** Tell a tab that was in before what the new stream means to it. */
  #resumed(seat: Seat, at: Position | undefined, start: Position | undefined, last: boolean): void {
    const topic = this.#canonical;
    const known = this.#present();
    if (known.members ?? known.count) seat.say({ type: "presence", topic, payload: known });
    if (start && at && isBehind(at, start) && !last) {
      this.#behind.add(seat);
      return;
    }
    if (start && at?.epoch === start.epoch && at.offset >= start.offset) return;
    // An ephemeral event may have passed between the leave and the join.
    const reason = !start ? "interrupted" : at?.epoch === start.epoch ? "trimmed" : "epoch";
    this.#tabs.set(seat, start);
    seat.say({ type: "reset", topic, payload: { reason, ...start } });
  }

  /** The position of the tab that has got least far. */
  #furthestBehind(): Position | undefined {
    let found: Position | undefined;
    for (const at of this.#tabs.values()) if (at && (!found || at.offset < found.offset)) found = at;
    return found;
  }

  #refused(frame: Failure, wire: Waiting | "others"): void {
    const { retry, retryAfter = 1 } = errorFrom(frame.payload);
    if (wire === "others" && retry && this.#tabs.size) {
      // They have done nothing that could be refused: it was tried too soon.
      this.#subscribed = false;
      this.#cancelRetry = this.#host.after(retryAfter, () => {
        this.#join("others");
      });
      return;
    }
    this.#wire = undefined;
    const other = frame.payload.code === "already_joined" && this.#host.byCanonical(frame.topic ?? "");
    if (other && other !== this) {
      this.#mergeInto(other, wire);
      return;
    }
    this.#subscribed = false; // the leave came first
    if (wire === "others") {
      this.#lost(frame.payload);
    } else if (!wire.seat.over) {
      if (frame.payload.code === "too_many_topics" && !this.#tabs.size) wire.seat.aside("the shared connection has as many topics as one may have");
      else wire.seat.say({ ...frame, ref: wire.ref });
    }
    if (this.#tabs.size) this.#join("others");
    else {
      this.#step();
      this.#end();
    }
  }

  /** Two names stand for one topic: the other one takes over. */
  #mergeInto(other: SharedTopic, wire: Waiting | "others"): void {
    for (const name of this.names) other.names.add(name);
    const waiting = [...(wire === "others" ? [] : [wire]), ...this.#queue.splice(0)];
    this.#forget();
    for (const { seat, ref, since } of waiting) if (!seat.over) other.join(seat, ref, since);
  }

  // ── what the server says ───────────────────────────────────────────────────────────────────────

  event(frame: Event, text: string): void {
    this.#recent.add(frame, text);
    for (const seat of this.#tabs.keys()) this.#give(seat, frame, text);
  }

  #give(seat: Seat, { offset, stamp }: Event, text: string): void {
    const at = this.#tabs.get(seat);
    if (at && offset !== undefined) {
      if (offset <= at.offset || this.#behind.has(seat)) return;
      this.#tabs.set(seat, positionAt(at.epoch, offset, stamp));
    }
    seat.hear(text);
  }

  reset({ payload }: Reset, text: string): void {
    const at = positionIn(payload);
    this.#behind.clear();
    this.#recent.begin(at, undefined);
    for (const seat of this.#tabs.keys()) {
      this.#tabs.set(seat, at);
      seat.hear(text);
    }
  }

  presence({ payload }: PresenceFrame, text: string): void {
    this.#members.take(payload);
    for (const seat of this.#tabs.keys()) seat.hear(text);
  }

  /** The server has ended the subscription. */
  left({ payload }: Left): void {
    this.#subscribed = false;
    if (payload) this.#lost(payload);
    if (!this.#wire) this.#step();
    this.#end();
  }

  #lost(payload: ErrorPayload): void {
    this.refusal = errorFrom(payload).retry ? "unavailable" : "forbidden";
    this.#behind.clear();
    const seats = [...this.#tabs.keys()];
    this.#tabs.clear();
    for (const seat of seats) seat.say({ type: "left", topic: this.#canonical, payload });
  }

  #present(): Known {
    const { listed, members, count } = this.#members.state;
    if (listed) return { members };
    return count === undefined ? {} : { count };
  }
}

function isBehind(at: Position, start: Position): boolean {
  return at.epoch === start.epoch && at.offset < start.offset;
}

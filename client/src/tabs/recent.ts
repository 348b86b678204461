import type { Event, Joined } from "../frames.js";
import { position, positionIn, type Position } from "../position.js";

interface Kept {
  readonly frame: Event;
  readonly text: string;
}

/** What a tab gets that joins a topic in which another tab is already. */
export interface Continuation {
  readonly payload: Joined["payload"];
  /** Where it starts. */
  readonly from: Position | undefined;
  readonly events: readonly Kept[];
}

const MOST = { events: 200, characters: 256_000 };

/** The last events of one stream, and the snapshot that it began with. Bounded. */
export class Recent {
  readonly #events: Kept[] = [];
  #characters = 0;
  /** All events after this one are kept; ephemeral topics have no position. */
  #floor: Position | undefined;
  /** What the stream began with, while all of it is kept. */
  #base: Joined["payload"] | undefined;
  /** Whether a join without a position brings a snapshot; undefined while that is not known. */
  #snapshots: boolean | undefined;

  /** A stream begins after `start`. `payload` is what the server said of it. */
  begin(start: Position | undefined, payload: Joined["payload"] | undefined): void {
    this.#events.length = this.#characters = 0;
    this.#floor = start;
    this.#base = payload?.recovered === true ? undefined : payload;
    if (this.#base) this.#snapshots = "snapshot" in this.#base;
  }

  add(frame: Event, text: string): void {
    // An ephemeral event of a durable topic is not made up for.
    if (this.#floor && (frame.offset === undefined || frame.offset <= (this.#head?.offset ?? 0))) return;
    if (!this.#floor && !this.#snapshots) return;
    this.#events.push({ frame, text });
    this.#characters += text.length;
    while (this.#events.length > MOST.events || this.#characters > MOST.characters) this.#drop();
  }

  /** How a tab joins from `since`, or from now without it; undefined if only the server can tell. */
  after(since: Position | undefined): Continuation | undefined {
    const floor = this.#floor;
    if (since && floor) {
      if (!this.#seen(since)) return undefined;
      const events = this.#events.filter(({ frame }) => (frame.offset ?? 0) > since.offset);
      return { payload: { ...this.#head, recovered: true }, from: since, events };
    }
    const recovered = since && { recovered: false };
    if (this.#snapshots === false) return { payload: { ...this.#head, ...recovered }, from: this.#head, events: [] };
    const base = this.#base;
    if (!base) return undefined;
    const { epoch, offset, stamp, snapshot } = base;
    const place = floor && { epoch, offset, ...(stamp !== undefined && { stamp }) };
    return { payload: { ...place, ...recovered, snapshot }, from: positionIn(base), events: [...this.#events] };
  }

  /** The last event that has passed. */
  get #head(): Position | undefined {
    const floor = this.#floor;
    const last = this.#events.at(-1)?.frame;
    return floor && last?.offset !== undefined ? position(floor.epoch, last.offset, last.stamp) : floor;
  }

  /** Whether the event at a position is one that has passed here. */
  #seen(since: Position): boolean {
    const floor = this.#floor;
    if (since.epoch !== floor?.epoch) return false;
    const known = since.offset === floor.offset ? floor : this.#events.find(({ frame }) => frame.offset === since.offset)?.frame;
    return !!known && (!since.stamp || since.stamp === known.stamp);
  }

  #drop(): void {
    const dropped = this.#events.shift();
    if (!dropped) return;
    this.#characters -= dropped.text.length;
    this.#base = undefined;
    const { offset, stamp } = dropped.frame;
    if (this.#floor && offset !== undefined) this.#floor = position(this.#floor.epoch, offset, stamp);
  }
}

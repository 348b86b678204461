import { Cell } from "./cell.js";
import type { JoinedInfo, Position } from "./index.js";
import type { Source } from "./leased.js";
import type { EventsOptions, Reducer } from "./views.js";

/** A state that follows from a topic's snapshot and its events, such as a list of messages. */
export class Fold<State> {
  readonly state: Cell<State>;
  /** The newest functions count. */
  reduce: Reducer<State>;
  options: EventsOptions<State>;
  #topic: Source | undefined;
  /** Up to where the state has been followed, when the last lease ended. */
  #stood: Position | undefined;
  #joinedBefore = false;
  #snapshots = false;

  constructor(reduce: Reducer<State>, options: EventsOptions<State>) {
    this.reduce = reduce;
    this.options = options;
    this.state = new Cell(options.initial);
  }

  /** Follow this topic, until the signal is aborted. */
  readonly use = (topic: Source, signal: AbortSignal): void => {
    if (this.#topic) this.#stood = this.#topic.position;
    this.#topic = topic;
    signal.addEventListener("abort", () => {
      if (this.#topic !== topic) return;
      this.#stood = topic.position; // the topic may go on for others
      this.#topic = undefined;
    });
    topic.lifecycle.on(
      "joined",
      (info) => {
        this.#joined(info, info.recovered && (info.again || !this.#joinedBefore || same(this.#stood, info.position)));
        this.#joinedBefore = true;
      },
      { signal },
    );
    topic.lifecycle.on("reset", () => {
      if (!this.#snapshots) this.#missed(); // else a fresh snapshot follows
    }, { signal });
    topic.on("*", (_, event) => {
      this.update((state) => this.reduce(state, event));
    }, { signal });
  };

  readonly update = (change: (state: State) => State): void => {
    this.state.set(change(this.state.get()));
  };

  #joined(info: JoinedInfo, continued: boolean): void {
    const { snapshot } = this.options;
    const brought = "snapshot" in info && snapshot;
    if (brought) {
      this.#snapshots = true;
      this.update((state) => brought(info.snapshot, state));
    } else if (!continued) {
      this.#missed();
    }
  }

  #missed(): void {
    const { missed } = this.options;
    if (missed) this.update(missed);
  }
}

/** Positions of an ephemeral topic are not known, so a new lease of one cannot be known to continue the last one. */
function same(one: Position | undefined, other: Position | undefined): boolean {
  return !!one && !!other && one.epoch === other.epoch && one.offset === other.offset;
}

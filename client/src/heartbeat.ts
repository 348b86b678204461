import type { Cancel, Clock } from "./clock.js";

/** After a ping something must arrive within so many milliseconds. */
const PATIENCE = 10_000;
/** The same when there is a reason to doubt the connection. */
const DOUBTED = 5_000;
/** A timer that fires so many milliseconds late was held back: the tab in the background, the machine asleep. */
const LATE = 5_000;

export interface HeartbeatOwner {
  ping(): void;
  /** No message came back: the connection is dead, even if the operating system reports no error. */
  dead(): void;
}

/**
 * One ping per heartbeat: it keeps the server from believing the client dead, and what comes back shows that
 * the server lives. Browsers hold timers back for a minute in background tabs and for hours in sleep, so a
 * deadline that comes late proves nothing: the messages that would have met it may be waiting behind it. It is
 * followed by one more ping, and only silence after that counts.
 */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #owner: HeartbeatOwner;
  #cancelNext: Cancel = () => undefined;
  #cancelDeadline: Cancel | undefined;
  #due = 0;
  #pingedAt = 0;
  #heardAt: number;

  constructor(clock: Clock, seconds: number, owner: HeartbeatOwner) {
    this.#clock = clock;
    this.#interval = seconds * 1_000;
    this.#owner = owner;
    this.#pingedAt = this.#heardAt = clock.now();
    this.#plan();
  }

  /**
   * Something arrived; `asked` if it is a ping of the server. Browsers hand a hidden tab its messages at once and run its
   * timers once a minute, so a ping that is due goes out now: the server asks a client of which it has heard nothing.
   */
  heard(asked = false): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
    this.#heardAt = this.#clock.now();
    if (asked || this.#heardAt - this.#pingedAt >= this.#interval) this.#beat(PATIENCE);
  }

  /** Find out now whether the connection lives, unless something arrived in the last `silence` milliseconds. */
  probe(silence = 0): void {
    if (this.#clock.now() - this.#heardAt >= silence) this.#beat(DOUBTED);
  }

  stop(): void {
    this.#cancelNext();
    this.#cancelDeadline?.();
  }

  #plan(): void {
    this.#cancelNext();
    this.#cancelNext = this.#clock.after(this.#interval, () => {
      this.#beat(PATIENCE);
    });
  }

  #beat(patience: number): void {
    this.#ping();
    this.#watch(patience);
    this.#plan();
  }

  #ping(): void {
    this.#pingedAt = this.#clock.now();
    this.#owner.ping();
  }

  #watch(patience: number, lastChance = false): void {
    const due = this.#clock.now() + patience;
    if (this.#cancelDeadline && this.#due <= due) return;
    this.#cancelDeadline?.();
    this.#due = due;
    this.#cancelDeadline = this.#clock.after(patience, () => {
      this.#cancelDeadline = undefined;
      if (lastChance || this.#clock.now() - due < LATE) {
        this.#owner.dead();
      } else {
        this.#ping();
        this.#watch(patience, true);
      }
    });
  }
}

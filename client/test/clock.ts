import type { Cancel, Clock } from "../src/clock.js";

interface Timer {
  due: number;
  readonly run: () => void;
}

/** Let everything that only awaits settled promises happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** Time that passes when a test says so. */
export class ManualClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): Cancel {
    const timer = { due: this.#now + ms, run };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** How many timers are waiting. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Let time pass, each timer firing when it is due. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#now = Math.max(this.#now, next.due);
      await this.#fire(next);
    }
    this.#now = end;
  }

  /** Let time pass with all timers held back. */
  hold(ms: number): void {
    this.#now += ms;
  }

  /** The machine is suspended: the time of day goes on, and timers have as long to run afterwards as before. */
  suspend(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers) timer.due += ms;
  }

  /** Let time pass with all timers held back: the machine sleeps. They fire late, when it wakes. */
  async sleep(ms: number): Promise<void> {
    this.hold(ms);
    const end = this.#now;
    for (let next = this.#next(end); next; next = this.#next(end)) await this.#fire(next);
  }

  #next(end: number): Timer | undefined {
    return [...this.#timers].filter(({ due }) => due <= end).sort((one, other) => one.due - other.due)[0];
  }

  async #fire(timer: Timer): Promise<void> {
    this.#timers.delete(timer);
    timer.run();
    await settle();
  }
}

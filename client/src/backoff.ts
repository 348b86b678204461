import { positive } from "./clock.js";

/** Milliseconds: the wait before try n is random between 0 and min(cap, base · 2^n). */
export interface BackoffOptions {
  readonly base: number;
  readonly cap: number;
}

/**
 * "Full jitter" (Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015): it spreads the
 * clients of a server that went away more evenly than any fixed delay with a random part added.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  /** How many waits there have been since the last reset. */
  attempt = 0;

  constructor({ base, cap }: Partial<BackoffOptions>, random: () => number) {
    this.#options = { base: positive(base) ?? 1_000, cap: positive(cap) ?? 30_000 };
    this.#random = random;
  }

  /** The next wait in milliseconds. */
  next(): number {
    return this.#wait(this.attempt++);
  }

  /** A wait as short as the first one: for when something suggests that a try now would succeed. */
  soon(): number {
    return this.#wait(0);
  }

  reset(): void {
    this.attempt = 0;
  }

  #wait(attempt: number): number {
    const { base, cap } = this.#options;
    return this.#random() * Math.min(cap, base * 2 ** attempt);
  }
}

import { positive } from "./clock.js";

/** Milliseconds: the wait before try n is random between 0 and min(cap, base · 2^n). */
export interface BackoffOptions {
  readonly base: number;
  readonly cap: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = { base: 1_000, cap: 30_000 };

/**
 * "Full jitter" (Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015): it spreads the
 * clients of a server that went away more evenly than any fixed delay with a random part added.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #attempt = 0;

  constructor(options: BackoffOptions, random: () => number) {
    const { base, cap } = DEFAULT_BACKOFF;
    this.#options = { base: positive(options.base) ?? base, cap: positive(options.cap) ?? cap };
    this.#random = random;
  }

  /** How many waits there have been since the last reset. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const { base, cap } = this.#options;
    return this.#random() * Math.min(cap, base * 2 ** this.#attempt++);
  }

  /** A wait as short as the first one: for when something suggests that a try now would succeed. */
  soon(): number {
    return this.#random() * Math.min(this.#options.cap, this.#options.base);
  }

  reset(): void {
    this.#attempt = 0;
  }
}

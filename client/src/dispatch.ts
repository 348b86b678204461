/** Tell the developer of an error in a handler, without stopping the client. */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

/** Run a handler. An error in it is reported and stops nothing else. */
export function attempt(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    report(error);
  }
}

/**
 * Order of change and notification: the client first changes its own state, then calls handlers.
 *
 * A handler may do anything: leave, join, close, reconnect. If it ran while the client still walked through its
 * topics, the client would walk on over what the handler changed. So `run` makes a change, and what the change
 * posts is called when the outermost change is complete, in the order in which it was posted.
 */
export class Dispatch {
  readonly #queue: (() => void)[] = [];
  #changes = 0;
  #draining = false;

  run(change: () => void): void {
    this.#changes++;
    try {
      change();
    } finally {
      this.#changes--;
      this.#drain();
    }
  }

  /** A function that makes its change by `run`. */
  wrap<Arguments extends readonly unknown[]>(change: (...args: Arguments) => void): (...args: Arguments) => void {
    return (...args) => {
      this.run(() => {
        change(...args);
      });
    };
  }

  post(notification: () => void): void {
    this.#queue.push(notification);
    this.#drain();
  }

  #drain(): void {
    if (this.#changes || this.#draining) return;
    this.#draining = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) attempt(next);
    this.#draining = false;
  }
}

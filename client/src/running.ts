import { Cell } from "./cell.js";
import type { LiveError } from "./index.js";
import type { Leased } from "./leased.js";
import type { CallState } from "./views.js";

const NOTHING: CallState = Object.freeze({ pending: false, result: undefined, error: undefined });

/** What has become of the calls of one action: the newest one's result or error, and whether one still waits. */
export class Running {
  readonly state = new Cell(NOTHING);
  readonly #leased: Leased;
  readonly #name: string;
  #waiting = 0;
  #newest = 0;

  constructor(leased: Leased, name: string) {
    this.#leased = leased;
    this.#name = name;
  }

  readonly call = (...args: unknown[]): Promise<unknown> => {
    const turn = ++this.#newest;
    const settled = (outcome: Partial<CallState>): void => {
      this.#waiting--;
      this.#become(turn === this.#newest ? outcome : {});
    };
    this.#waiting++;
    const promise = this.#leased.call(this.#name, ...args);
    this.#become({ error: undefined });
    // This handles a rejection, so that `run` leaves none behind.
    promise.then(
      (result) => {
        settled({ result, error: undefined });
      },
      (error: unknown) => {
        settled({ result: undefined, error: error as LiveError });
      },
    );
    return promise;
  };

  readonly run = (...args: unknown[]): void => {
    void this.call(...args);
  };

  readonly reset = (): void => {
    this.#newest++;
    this.#become({ result: undefined, error: undefined });
  };

  #become(change: Partial<CallState>): void {
    this.state.set(Object.freeze({ ...this.state.get(), ...change, pending: this.#waiting > 0 }));
  }
}

import { attempt, Dispatch } from "./dispatch.js";

/** Removes the handler it was returned for. */
export type Off = () => void;

export interface OnOptions {
  /** Removes the handler when aborted: one controller for all handlers of a page or a component. */
  readonly signal?: AbortSignal | undefined;
}

type Call<Arguments extends readonly unknown[]> = (...args: Arguments) => void;

export interface Listener<Arguments extends readonly unknown[]> {
  /** Calls the handler, unless it has been removed. */
  readonly call: Call<Arguments>;
  readonly off: Off;
}

/**
 * Handlers by name. An emit reaches the handlers that are there when it happens; one that is removed before its
 * turn is not called any more.
 */
export class Emitter<Events extends Record<keyof Events, readonly unknown[]>> {
  readonly #dispatch: Dispatch;
  // Names come from outside: without a prototype, "constructor" is a name like any other.
  readonly #listeners = Object.create(null) as { [Name in keyof Events]?: readonly Listener<Events[Name]>[] };
  #over = false;

  constructor(dispatch = new Dispatch()) {
    this.#dispatch = dispatch;
  }

  on<Name extends keyof Events>(name: Name, handler: Call<Events[Name]>, { signal }: OnOptions = {}): Off {
    let here = !this.#over && !signal?.aborted;
    const off = (): void => {
      here = false;
      signal?.removeEventListener("abort", off);
      this.#listeners[name] = this.of(name).filter((other) => other !== listener);
    };
    const call: Call<Events[Name]> = (...args) => {
      if (here) handler(...args);
    };
    const listener = { call, off };
    if (here) {
      signal?.addEventListener("abort", off);
      this.#listeners[name] = [...this.of(name), listener];
    }
    return off;
  }

  /** The handlers of a name that are there now. */
  of<Name extends keyof Events>(name: Name): readonly Listener<Events[Name]>[] {
    return this.#listeners[name] ?? [];
  }

  emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void {
    const listeners = this.of(name);
    if (!listeners.length) return;
    this.#dispatch.post(() => {
      for (const { call } of listeners) {
        attempt(() => {
          call(...args);
        });
      }
    });
  }

  /** Remove the handlers, and take no more. Those of the `spared` names still hear what has been emitted already. */
  end(...spared: readonly (keyof Events)[]): void {
    this.#over = true;
    const remove = (names: readonly (keyof Events)[]): void => {
      for (const name of names) for (const { off } of this.of(name)) off();
    };
    remove((Object.keys(this.#listeners) as (keyof Events)[]).filter((name) => !spared.includes(name)));
    this.#dispatch.post(() => {
      remove(spared);
    });
  }
}

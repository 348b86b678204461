/** Removes the handler it was returned for. */
export type Off = () => void;

/** Tell the developer of something that went wrong in a handler, without stopping what we are doing. */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

interface Listener<Arguments extends readonly unknown[]> {
  readonly handler: (...args: Arguments) => void;
}

/**
 * Handlers by name. A handler that throws is reported and stops no other; handlers added or removed
 * during an emit count from the next one on.
 */
export class Emitter<Events extends Record<keyof Events, readonly unknown[]>> {
  // Names come from outside: without a prototype, "constructor" is a name like any other.
  readonly #listeners = Object.create(null) as { [Name in keyof Events]?: readonly Listener<Events[Name]>[] };

  on<Name extends keyof Events>(name: Name, handler: (...args: Events[Name]) => void): Off {
    const listener = { handler };
    this.#listeners[name] = [...(this.#listeners[name] ?? []), listener];
    return () => {
      this.#listeners[name] = this.#listeners[name]?.filter((other) => other !== listener) ?? [];
    };
  }

  emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void {
    for (const { handler } of this.#listeners[name] ?? []) {
      try {
        handler(...args);
      } catch (error) {
        report(error);
      }
    }
  }
}

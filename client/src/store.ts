import type { Off } from "./emitter.js";

/**
 * State that user interfaces can watch: `useSyncExternalStore(store.subscribe, () => store.state)` in React,
 * `store.subscribe(() => { shallow.value = store.state })` in Vue.
 */
export interface Store<State> {
  /** The present state: a frozen object that is replaced when something in it changes, and stays the same until then. */
  readonly state: State;
  /** Call `listener` after each change of `state`. */
  readonly subscribe: (listener: () => void) => Off;
}

/**
 * Make an object fit for user interfaces, at the end of its constructor. Its methods and getters need no `this` any
 * more: they work unbound and behind a Proxy. It is frozen, so Vue's `ref` and `reactive` do not put a Proxy around it;
 * Svelte's `$state` and Solid's stores never do that to an instance of a class.
 */
export function publish(self: object): void {
  const members = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(self) as object);
  for (const [name, member] of Object.entries(members)) {
    const method = member.value as ((this: object) => unknown) | undefined;
    const get = member.get?.bind(self);
    Object.defineProperty(self, name, get ? { get, enumerable: true } : { value: method?.bind(self) });
  }
  Object.freeze(self);
}

/**
 * Svelte stores for the topics of Holdfast, for Svelte 3 and later.
 *
 *     const room = topicStore<Room>("rooms/lobby");
 *     const messages = events(room, (list, event) => [...list, event.payload], { initial: [] });
 *     // in the template: {$room.status} {#each $messages as message} …
 *
 * A topic is joined with the first subscriber of its stores, and left with the last one. Rendering on a server opens nothing.
 */

import type { Cell } from "./cell.js";
import { Fold } from "./fold.js";
import type {
  ActionsOf,
  EventHandler,
  Live,
  LiveState,
  MetaOf,
  Off,
  OnOptions,
  PresenceState,
  ResultOf,
  Topic,
  TopicTypes,
} from "./index.js";
import { leasedOf, type Leased } from "./leased.js";
import { pageLive } from "./pagelive.js";
import { Running } from "./running.js";
import type {
  Calling,
  CallState,
  EventsOptions,
  LiveTopic,
  Reducer,
  TopicName,
  TopicViewOptions,
} from "./views.js";

export type * from "./views.js";

/** Store of Svelte's contract: `run` is called at once and after each change. */
export interface LiveStore<Value> {
  readonly subscribe: (run: (value: Value) => void) => Off;
}

/** Store that can be assigned to: `$messages = []`. */
export interface EventsStore<State> extends LiveStore<State> {
  readonly set: (state: State) => void;
  readonly update: (change: (state: State) => State) => void;
}

export interface TopicStore<Types extends TopicTypes = TopicTypes>
  extends LiveStore<LiveTopic<Types>>,
    Pick<LiveTopic<Types>, "call" | "leased" | "send"> {
  /** Handle events of one name, or of all (`"*"`). The topic is joined until the function that this returns is called. */
  readonly on: Topic<Types>["on"];
}

/** A topic, or the name of one. */
export type TopicSource<Types extends TopicTypes = TopicTypes> = TopicStore<Types> | TopicName;

export interface StoreOptions extends TopicViewOptions {
  /** Default: the page's own client, which `connect()` returns. */
  readonly live?: Live | undefined;
}

/** The state of the connection: its status, the user, and when and why it is away. */
export function status(live?: Live): LiveStore<LiveState> {
  const client = (): Live => live ?? pageLive();
  return storeOf({ get: () => client().state, subscribe: (listener) => client().subscribe(listener) }, () => () => undefined);
}

/** A topic by its name. */
export function topicStore<Types extends TopicTypes = TopicTypes>(name: TopicName, options: StoreOptions = {}): TopicStore<Types> {
  const leased = leasedIn(name, options);
  const { call, send } = leased.view.get();
  const on = (event: string, handler: EventHandler<unknown>, { signal }: OnOptions = {}): Off => {
    const release = leased.take();
    const detach = leased.attach((source, over) => source.on(event, handler, { signal: over }));
    const off = (): void => {
      signal?.removeEventListener("abort", off);
      detach();
      release();
    };
    signal?.addEventListener("abort", off);
    if (signal?.aborted) off();
    return off;
  };
  const store: TopicStore = {
    ...storeOf(leased.view, () => leased.take()),
    call,
    send,
    on,
    leased,
  };
  return store;
}

/**
 * A state that follows from a topic's snapshot and its events, such as a list of messages. It goes on after a time without
 * subscribers if nothing was missed.
 */
export function events<State, Types extends TopicTypes = TopicTypes>(
  topic: TopicSource<Types>,
  reduce: Reducer<State, Types>,
  options: EventsOptions<State, Types> & StoreOptions,
): EventsStore<State> {
  const leased = leasedIn(topic, options);
  const fold = new Fold(reduce, options as EventsOptions<State>);
  let subscribers = 0;
  let stop: Off;
  const start = (): Off => {
    if (!subscribers++) stop = leased.follow(fold.use);
    let here = true;
    return () => {
      if (!here) return;
      here = false;
      if (!--subscribers) stop();
    };
  };
  const set = (state: State): void => {
    fold.state.set(state);
  };
  return { ...storeOf(fold.state, start), set, update: fold.update };
}

/** The members of a topic. */
export function presence<Types extends TopicTypes = TopicTypes>(
  topic: TopicSource<Types>,
  options?: StoreOptions,
): LiveStore<PresenceState<MetaOf<Types>>> {
  const leased = leasedIn(topic, options);
  return storeOf(leased.presence as Cell<PresenceState<MetaOf<Types>>>, () => leased.take());
}

/** An action of a topic, and what has become of its calls. A call goes on when the last subscriber has gone. */
export function calls<Types extends TopicTypes, Name extends keyof ActionsOf<Types> & string>(
  topic: TopicSource<Types>,
  name: Name,
  options?: StoreOptions,
): LiveStore<CallState<ResultOf<ActionsOf<Types>[Name]>>> & Calling<Types, Name> {
  const leased = leasedIn(topic, options);
  const { state, run, call, reset } = new Running(leased, name);
  const store: object = { ...storeOf(state, () => leased.take()), run, call, reset };
  return store as LiveStore<CallState<ResultOf<ActionsOf<Types>[Name]>>> & Calling<Types, Name>;
}

function leasedIn(topic: TopicSource, { live, since }: StoreOptions = {}): Leased {
  return leasedOf(topic, () => live ?? pageLive(), since);
}

/** The store of a cell; `start` is called for each subscriber, and what it returns when that one goes. */
function storeOf<Value>({ get, subscribe }: Pick<Cell<Value>, "get" | "subscribe">, start: () => Off): LiveStore<Value> {
  return {
    subscribe: (run) => {
      const onPage = "document" in globalThis;
      const release = onPage && start();
      const off = onPage && subscribe(() => { run(get()); });
      run(get());
      return () => {
        if (off) off();
        if (release) release();
      };
    },
  };
}

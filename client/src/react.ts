"use client";

/**
 * React hooks for the topics of Holdfast.
 *
 *     const room = useTopic("rooms/lobby");
 *     const [messages] = useEvents(room, (list, event) => [...list, event.payload], { initial: [] });
 *     const post = useCall(room, "post");
 *
 * A topic is joined while at least one mounted component uses it. Rendering on a server opens nothing.
 */

import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
  type ReactElement,
  type ReactNode,
} from "react";

import type { Cell } from "./cell.js";
import { Fold } from "./fold.js";
import { held, type Held } from "./held.js";
import type {
  ActionsOf,
  EventHandler,
  EventsOf,
  Live,
  LiveState,
  MetaOf,
  PresenceState,
  ResultOf,
  TopicTypes,
} from "./index.js";
import { leasedOf, type Leased } from "./leased.js";
import { pageLive } from "./pagelive.js";
import { Running } from "./running.js";
import type {
  AnyHandlerOf,
  Calling,
  CallState,
  EventsOptions,
  HandlerOf,
  LiveTopic,
  Reducer,
  TopicName,
  TopicViewOptions,
} from "./views.js";

export type * from "./views.js";

/** A topic that `useTopic` returned, or the name of one. */
export type TopicSource<Types extends TopicTypes = TopicTypes> = LiveTopic<Types> | TopicName;

export interface UseTopicOptions extends TopicViewOptions {
  /**
   * Suspend until the topic is joined for the first time. On a server the hook throws, so that the nearest `Suspense`
   * boundary shows its fallback.
   */
  readonly suspense?: boolean | undefined;
  /** Throw when the topic is refused or ended, for an error boundary. Default: the value of `suspense`. */
  readonly throwOnError?: boolean | undefined;
}

const LiveContext = createContext<Live | undefined>(undefined);

/** Gives its children a client other than the page's own. */
export function LiveProvider({ live, children }: { readonly live: Live; readonly children?: ReactNode }): ReactElement {
  return createElement(LiveContext.Provider, { value: live }, children);
}

/** The provider's client, or the page's own, which `connect()` returns. */
export function useLive(): Live {
  return useContext(LiveContext) ?? pageLive();
}

const IDLE: LiveState = Object.freeze({ status: "idle", user: undefined });

/** The state of the connection: its status, the user, and when and why it is away. */
export function useStatus(): LiveState {
  const live = useLive();
  return useSyncExternalStore(live.subscribe, () => live.state, () => IDLE);
}

/** A topic by its name, joined while the component is mounted. */
export function useTopic<Types extends TopicTypes = TopicTypes>(
  name: TopicName,
  options: UseTopicOptions = {},
): LiveTopic<Types> {
  const { suspense, throwOnError = suspense } = options;
  if (suspense && !("document" in globalThis)) {
    throw new Error(`useTopic(${JSON.stringify(name)}, { suspense: true }) suspends on the server; the browser renders it.`);
  }
  const [leased, waiting] = useLeased(name, options);
  const view = useCell(leased.view);
  const promise = waiting?.ask();
  // eslint-disable-next-line @typescript-eslint/only-throw-error -- this is how React suspends in 18 and 19
  if (promise) throw promise;
  if (throwOnError && view.error && (!view.joined || view.status !== "joining")) throw view.error;
  return view;
}

/** Call the newest `handler` with each event of this name, or of all (`"*"`), while the component is mounted. */
export function useEvent<Types extends TopicTypes, Name extends keyof EventsOf<Types> & string>(
  topic: TopicSource<Types>,
  name: Name,
  handler: HandlerOf<Types, Name>,
): void;
export function useEvent<Types extends TopicTypes>(topic: TopicSource<Types>, name: "*", handler: AnyHandlerOf<Types>): void;
export function useEvent(topic: TopicSource, name: string, handler: (...args: never[]) => void): void {
  const [leased] = useLeased(topic);
  const latest = useLatest(handler as EventHandler<unknown>);
  useEffect(() => {
    const call: EventHandler<unknown> = (...args) => {
      latest.current(...args);
    };
    return leased.attach((source, signal) => source.on(name, call, { signal }));
  }, [leased, name, latest]);
}

/**
 * A state that follows from a topic's snapshot and its events, such as a list of messages, and a function that changes it.
 * The newest functions count. Another topic starts from `initial`.
 */
export function useEvents<State, Types extends TopicTypes = TopicTypes>(
  topic: TopicSource<Types>,
  reduce: Reducer<State, Types>,
  options: EventsOptions<State, Types>,
): readonly [state: State, update: (change: (state: State) => State) => void] {
  const [leased] = useLeased(topic);
  const fold = useMemo(() => new Fold(reduce as Reducer<State>, options as EventsOptions<State>), [leased]);
  useInsertionEffect(() => {
    fold.reduce = reduce;
    fold.options = options;
  });
  useEffect(() => leased.follow(fold.use), [leased, fold]);
  return [useCell(fold.state), fold.update];
}

/** The members of a topic. */
export function usePresence<Types extends TopicTypes = TopicTypes>(topic: TopicSource<Types>): PresenceState<MetaOf<Types>> {
  const [leased] = useLeased(topic);
  return useCell(leased.presence) as PresenceState<MetaOf<Types>>;
}

/** An action of a topic, and what has become of its calls. A call goes on when the component is unmounted. */
export function useCall<Types extends TopicTypes, Name extends keyof ActionsOf<Types> & string>(
  topic: TopicSource<Types>,
  name: Name,
): CallState<ResultOf<ActionsOf<Types>[Name]>> & Calling<Types, Name> {
  const [leased] = useLeased(topic);
  const running = useMemo(() => new Running(leased, name), [leased, name]);
  const state = useCell(running.state);
  return useMemo(() => ({ ...state, run: running.run, call: running.call, reset: running.reset }), [state, running]) as CallState<
    ResultOf<ActionsOf<Types>[Name]>
  > &
    Calling<Types, Name>;
}

/** The topic of a source, taken while the component is mounted. */
function useLeased(
  source: LiveTopic | TopicName,
  { since, suspense }: UseTopicOptions = {},
): readonly [leased: Leased, waiting: Held | undefined] {
  const live = useLive();
  const key = typeof source === "object" && source ? source.leased : source;
  const made = useMemo(() => {
    const waiting = suspense && typeof key === "string" && key ? held(live, key, since) : undefined;
    return [waiting?.leased ?? leasedOf(source, () => live, since), waiting] as const;
    // `since` counts once, and a view of a topic is the same topic as another view of it.
  }, [live, key, suspense]);
  const [leased, waiting] = made;
  useEffect(() => {
    const release = leased.take();
    waiting?.claim();
    return release;
  }, [leased, waiting]);
  return made;
}

function useCell<Value>({ subscribe, get }: Cell<Value>): Value {
  return useSyncExternalStore(subscribe, get, get);
}

/** The newest value, for functions that are called after the render. */
function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

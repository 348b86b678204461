/**
 * Vue composables for the topics of Holdfast.
 *
 *     const room = useTopic<Room>(() => `rooms/${props.id}`);
 *     const messages = useEvents(room, (list, event) => [...list, event.payload], { initial: [] });
 *     const post = useCall(room, "post");
 *
 * A topic is joined until the component or effect scope ends. Rendering on a server opens nothing.
 */

import {
  computed,
  hasInjectionContext,
  inject,
  provide,
  shallowRef,
  toValue,
  watch,
  type App,
  type ComputedRef,
  type InjectionKey,
  type MaybeRefOrGetter,
  type Ref,
  type ShallowRef,
  type WritableComputedRef,
} from "vue";

import type { Cell } from "./cell.js";
import { Fold } from "./fold.js";
import type {
  ActionsOf,
  EventHandler,
  EventsOf,
  Live,
  LiveState,
  MetaOf,
  Off,
  PresenceState,
  ResultOf,
  TopicTypes,
} from "./index.js";
import { Leased } from "./leased.js";
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

/** The fields of a state, each as a ref. */
export type RefsOf<State> = { readonly [Name in keyof State]-?: ComputedRef<State[Name]> };

/** A topic: its state as refs, and its actions. */
export interface TopicRefs<Types extends TopicTypes = TopicTypes>
  extends RefsOf<Omit<LiveTopic<Types>, "call" | "leased" | "send">>,
    Pick<LiveTopic<Types>, "call" | "send"> {
  /** For functions of this entry that take the topic. */
  readonly leased: ShallowRef<object>;
}

/** A topic, or the name of one: a text, a ref or a getter. */
export type TopicSource<Types extends TopicTypes = TopicTypes> = TopicRefs<Types> | MaybeRefOrGetter<TopicName>;

const LIVE: InjectionKey<Live> = Symbol.for("holdfast.live");

/** Give the components below, or all of `app`, a client other than the page's own. */
export function provideLive(live: Live, app?: App): void {
  if (app) app.provide(LIVE, live);
  else provide(LIVE, live);
}

/** The provided client, or the page's own, which `connect()` returns. */
export function useLive(): Live {
  return (hasInjectionContext() ? inject(LIVE, undefined) : undefined) ?? pageLive();
}

/** The state of the connection: its status, the user, and when and why it is away. */
export function useStatus(): RefsOf<LiveState> {
  const live = shallowRef(useLive());
  const state = mirror(live, (now) => ({ subscribe: now.subscribe, get: () => now.state }));
  return refsOf(state, "status", "user", "error", "retryIn", "retryAt");
}

/** A topic by its name, joined until the scope ends. A name that changes joins the new topic and leaves the old one. */
export function useTopic<Types extends TopicTypes = TopicTypes>(
  name: MaybeRefOrGetter<TopicName>,
  options: TopicViewOptions = {},
): TopicRefs<Types> {
  const leased = useLeased(name, options);
  const refs: TopicRefs = {
    ...refsOf(mirror(leased, ({ view }) => view), "name", "status", "joined", "error", "snapshot"),
    call: ((...args: [string]) => leased.value.call(...args)),
    send: (...args) => {
      leased.value.view.get().send(...args);
    },
    leased,
  };
  return refs;
}

/** Call `handler` with each event of this name, or of all (`"*"`), until the scope ends. */
export function useEvent<Types extends TopicTypes, Name extends keyof EventsOf<Types> & string>(
  topic: TopicSource<Types>,
  name: MaybeRefOrGetter<Name>,
  handler: HandlerOf<Types, Name>,
): void;
export function useEvent<Types extends TopicTypes>(topic: TopicSource<Types>, name: "*", handler: AnyHandlerOf<Types>): void;
export function useEvent(topic: TopicSource, name: MaybeRefOrGetter<string>, handler: (...args: never[]) => void): void {
  const leased = useLeased(topic);
  const wanted = computed(() => [leased.value, toValue(name)] as const);
  each(wanted, ([on, event]) => on.attach((source, signal) => source.on(event, handler as EventHandler<unknown>, { signal })));
}

/**
 * A state that follows from a topic's snapshot and its events, such as a list of messages. Assigning to its `value` changes
 * it. Another topic starts from `initial`.
 */
export function useEvents<State, Types extends TopicTypes = TopicTypes>(
  topic: TopicSource<Types>,
  reduce: Reducer<State, Types>,
  options: EventsOptions<State, Types>,
): WritableComputedRef<State> {
  const leased = useLeased(topic);
  const fold = computed(() => [leased.value, new Fold(reduce as Reducer<State>, options as EventsOptions<State>)] as const);
  const state = mirror(fold, ([, made]) => made.state);
  each(fold, ([leased, { use }]) => leased.follow(use));
  return computed({
    get: () => state.value,
    set: (value) => {
      fold.value[1].update(() => value);
    },
  });
}

/** The members of a topic. */
export function usePresence<Types extends TopicTypes = TopicTypes>(topic: TopicSource<Types>): RefsOf<PresenceState<MetaOf<Types>>> {
  const state = mirror(useLeased(topic), ({ presence }) => presence);
  return refsOf(state, "members", "count", "listed") as RefsOf<PresenceState<MetaOf<Types>>>;
}

/** An action of a topic, and what has become of its calls. A call goes on when the scope has ended. */
export function useCall<Types extends TopicTypes, Name extends keyof ActionsOf<Types> & string>(
  topic: TopicSource<Types>,
  name: MaybeRefOrGetter<Name>,
): RefsOf<CallState<ResultOf<ActionsOf<Types>[Name]>>> & Calling<Types, Name> {
  const leased = useLeased(topic);
  const running = computed(() => new Running(leased.value, toValue(name)));
  const refs = refsOf(mirror(running, ({ state }) => state), "pending", "result", "error");
  const calling: object = {
    ...refs,
    run: (...args: unknown[]) => {
      running.value.run(...args);
    },
    call: (...args: unknown[]) => running.value.call(...args),
    reset: () => {
      running.value.reset();
    },
  };
  return calling as RefsOf<CallState<ResultOf<ActionsOf<Types>[Name]>>> & Calling<Types, Name>;
}

/** The topic of a source, taken until the scope ends. */
function useLeased(source: TopicSource, { since }: TopicViewOptions = {}): ShallowRef<Leased> {
  if (typeof source === "object" && source && "leased" in source) return source.leased as ShallowRef<Leased>;
  const live = useLive();
  const name = computed(() => toValue(source));
  const make = (): Leased => new Leased(() => live, name.value, since);
  const leased = shallowRef(make());
  each(name, () => {
    const next = leased.value.name === name.value ? leased.value : make();
    const release = next.take();
    leased.value = next;
    return release;
  });
  return leased;
}

/** Use each value of a ref until the next one comes or the scope ends. */
function each<Value>(value: Readonly<Ref<Value>>, use: (value: Value) => Off): void {
  if (!("document" in globalThis)) return;
  watch(
    value,
    (now, _, onCleanup) => {
      onCleanup(use(now));
    },
    // At once: handlers come in the turn in which the topic is taken.
    { immediate: true, flush: "sync" },
  );
}

/** A ref that has the value of a cell. */
function mirror<From, Value>(from: Readonly<Ref<From>>, cellOf: (from: From) => Pick<Cell<Value>, "get" | "subscribe">): ShallowRef<Value> {
  const value = shallowRef(cellOf(from.value).get()) as ShallowRef<Value>;
  each(from, (now) => {
    const { get, subscribe } = cellOf(now);
    const take = (): void => {
      value.value = get();
    };
    take();
    return subscribe(take);
  });
  return value;
}

function refsOf<State>(state: Readonly<Ref<State>>, ...names: (keyof State)[]): RefsOf<State> {
  return Object.fromEntries(names.map((name) => [name, computed(() => state.value[name])])) as unknown as RefsOf<State>;
}

/** Types that the entries for React, Vue and Svelte share. */

import type {
  ActionsOf,
  AnyEvent,
  CallOptions,
  EventHandler,
  EventInfo,
  EventsOf,
  LiveError,
  PayloadOf,
  Position,
  ResultOf,
  SnapshotOf,
  Topic,
  TopicState,
  TopicStatus,
  TopicTypes,
} from "./index.js";

/** Name of a topic. Without one (null, undefined or an empty text) nothing is joined. */
export type TopicName = string | null | undefined;

/** A topic as one render sees it: a frozen object that is replaced when something in it changes. */
export interface LiveTopic<Types extends TopicTypes = TopicTypes> extends Omit<TopicState<SnapshotOf<Types>>, "status"> {
  readonly name: TopicName;
  /** `idle`: there is no name. */
  readonly status: TopicStatus | "idle";
  /** The newest snapshot that a join brought. Events that came later are not in it: `useEvents` and `events` add them. */
  readonly snapshot: SnapshotOf<Types> | undefined;
  /**
   * Run an action, as `Topic.call`. The topic stays joined until the call has its answer, even if the component goes away
   * before.
   */
  readonly call: Topic<Types>["call"];
  /** Run an action without an answer, as `Topic.send`. */
  readonly send: Topic<Types>["send"];
  /** For functions of this entry that take the topic. */
  readonly leased: object;
}

export interface TopicViewOptions {
  /** The position to go on from, as in `live.topic`. It counts when the topic is joined first. */
  readonly since?: Position | null | undefined;
}

/** Handler of one event of a topic. */
export type HandlerOf<Types extends TopicTypes, Name extends keyof EventsOf<Types> & string> = EventHandler<
  EventsOf<Types>[Name],
  EventInfo<Name, EventsOf<Types>[Name]>
>;

/** Handler of all events of a topic. */
export type AnyHandlerOf<Types extends TopicTypes> = EventHandler<EventsOf<Types>[keyof EventsOf<Types>], AnyEvent<EventsOf<Types>>>;

/** Returns the state that follows from an event. It must not change the state that it is given. */
export type Reducer<State, Types extends TopicTypes = TopicTypes> = (state: State, event: AnyEvent<EventsOf<Types>>) => State;

export interface EventsOptions<State, Types extends TopicTypes = TopicTypes> {
  readonly initial: State;
  /** Returns the state that the topic's snapshot stands for. It is called whenever a join brings a snapshot. */
  readonly snapshot?: ((snapshot: SnapshotOf<Types>, state: State) => State) | undefined;
  /**
   * Returns the state to go on from after events were missed for good and no snapshot came. Default: the same state. It is
   * the place to mark a list as incomplete, or to start loading it.
   */
  readonly missed?: ((state: State) => State) | undefined;
}

/** What has become of the calls of one action. */
export interface CallState<Result = unknown> {
  /** At least one call waits for its answer. */
  readonly pending: boolean;
  /** Result of the newest call; undefined before it has one. */
  readonly result: Result | undefined;
  /** Why the newest call failed. */
  readonly error: LiveError | undefined;
}

/** Arguments of a call: the payload that the action takes, and options. */
export type CallArguments<Types extends TopicTypes, Name extends keyof ActionsOf<Types>> = [
  ...payload: PayloadOf<ActionsOf<Types>[Name]>,
  options?: CallOptions | undefined,
];

export interface Calling<Types extends TopicTypes, Name extends keyof ActionsOf<Types>> {
  /** Run the action, for a handler in a template: `result` and `error` say how it ends. */
  readonly run: (...args: CallArguments<Types, Name>) => void;
  /** Run the action and get a promise of its result, as that of `Topic.call`. */
  readonly call: (...args: CallArguments<Types, Name>) => Promise<ResultOf<ActionsOf<Types>[Name]>>;
  /** Forget result and error. */
  readonly reset: () => void;
}

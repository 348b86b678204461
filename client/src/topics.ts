import type { LiveError } from "./errors.js";
import { errorFrom } from "./errors.js";
import type { ServerFrame } from "./frames.js";
import type { Handle } from "./handle.js";
import type { Position } from "./position.js";
import type { LeaseOptions, TopicOptions } from "./topic.js";
import { Subscription, type SubscriptionHost } from "./subscription.js";

/** What the topics need from outside; the rest of a subscription's host are the topics themselves. */
export interface TopicsSettings extends Pick<SubscriptionHost, "calls" | "clock" | "dispatch" | "backoff" | "connection"> {
  /** Where the page was rendered in a topic's log, if it says so and this has not been used yet. */
  cursor(topic: string): Position | undefined;
  /** Connect if need be, and `sync`. */
  settle(): void;
}

/** Null is the topic's end. */
type Start = Position | null | undefined;

/** How many topics are remembered, with those that are joined. */
const MOST = 500;

/**
 * The topics of one client, found by the name they were asked for and by their canonical one. Two objects may
 * stand for one topic (`inbox/me` and `inbox/7`, both asked for before the server said that they are the same);
 * when it says so, one takes over the handles of the other.
 */
export class Topics {
  readonly #all = new Set<Subscription>();
  readonly #settings: TopicsSettings;
  readonly #host: SubscriptionHost;
  #forgotten = false;
  #suspended: LiveError | undefined;
  #scheduled = false;

  constructor(settings: TopicsSettings) {
    this.#settings = settings;
    this.#host = {
      ...settings,
      schedule: () => {
        this.#schedule();
      },
      others: (than, name) => [...this.#all].filter((topic) => topic !== than && standsFor(topic, name)),
      forget: (subscription) => {
        this.#all.delete(subscription);
      },
    };
  }

  get wanted(): boolean {
    return [...this.#all].some(({ wanted }) => wanted);
  }

  /** The handle that all callers with this name share. */
  shared(name: string, { since }: TopicOptions): Handle {
    return this.#handle(name, since, (topic, start) => topic.shared(name, start));
  }

  /** A new handle for one caller. */
  lease(name: string, { since, signal }: LeaseOptions): Handle {
    return this.#handle(name, since, (topic, start) => topic.lease(name, start, signal));
  }

  /** A message about a topic that answers no request. */
  received(frame: ServerFrame): void {
    for (const topic of this.#all) {
      if (!("topic" in frame) || topic.canonical !== frame.topic) continue;
      if (frame.type === "event") topic.event(frame);
      else if (frame.type === "reset") topic.reset(frame);
      else if (frame.type === "presence") topic.presenceNews(frame.payload);
      else if (frame.type === "left" && frame.payload) topic.ended(errorFrom(frame.payload));
    }
  }

  sync(): void {
    for (const topic of this.#all) topic.sync();
  }

  interrupted(): void {
    for (const topic of this.#all) topic.interrupted();
  }

  userChanged(): void {
    for (const topic of this.#all) topic.userChanged();
  }

  /** The connection will not come back by itself; without an error, it may again. */
  suspend(error: LiveError | undefined): void {
    if (error === this.#suspended) return;
    this.#suspended = error;
    for (const topic of this.#all) for (const handle of topic.handles) handle.suspended(error);
  }

  end(error: LiveError): void {
    for (const topic of this.#all) topic.end("left", error);
  }

  // A position belongs to the topic's name as long as the page lives: subscriptions stay when they are left, and without
  // a `start` go on where they are. It is the caller's position or the page's cursor.
  #handle(name: string, since: Start, take: (topic: Subscription, start: Start) => Handle): Handle {
    const start = since === undefined ? this.#settings.cursor(name) : since;
    const known = [...this.#all].filter((each) => standsFor(each, name));
    const topic = known.find(({ wanted }) => wanted) ?? known[0] ?? this.#add(name);
    if (!topic.wanted) topic.begin(start);
    else if (since !== undefined && !topic.agrees(since)) warn(name, topic.position);
    const handle = take(topic, start);
    if (this.#suspended) handle.suspended(this.#suspended);
    return handle;
  }

  #add(name: string): Subscription {
    const oldest = this.#all.size >= MOST && [...this.#all].find(({ idle }) => idle);
    // Any name may be one of those that were forgotten: no join can claim any more to be the first one.
    if (oldest) this.#forgotten = this.#all.delete(oldest);
    const topic = new Subscription(name, this.#host, this.#forgotten);
    this.#all.add(topic);
    return topic;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#settings.settle();
    });
  }
}

function standsFor(topic: Subscription, name: string): boolean {
  return topic.name === name || topic.canonical === name;
}

function warn(name: string, at: Position | undefined): void {
  console.warn(`Holdfast: "${name}" is in use and stays at`, at ?? "its end");
}

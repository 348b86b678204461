import { Subscription, type SubscriptionHost } from "./subscription.js";
import type { LiveError } from "./errors.js";
import { errorFrom } from "./errors.js";
import type { Event, Joined, Left, PresenceFrame, Reset } from "./frames.js";
import type { Position } from "./position.js";

/** What the topics need from outside; the rest of a subscription's host are the topics themselves. */
export type TopicsSettings = Pick<SubscriptionHost, "calls" | "clock" | "backoff" | "connection">;

/**
 * The topics of one client, found by the name they were asked for and by their canonical one. Two objects may
 * stand for one topic (`inbox/me` and `inbox/7`, both asked for before the server said that they are the same);
 * what comes for it then goes to both.
 */
export class Topics {
  readonly #all = new Set<Subscription>();
  readonly #host: SubscriptionHost;
  readonly #cursorsUsed = new Set<string>();

  constructor(settings: TopicsSettings) {
    this.#host = {
      ...settings,
      joined: (frame) => {
        this.#joined(frame);
      },
      twin: (of, name) => this.#others(of).find((other) => other.wanted && other.canonical === name && other.address),
      occupied: (by) => this.#others(by).some((other) => !other.wanted && namesMeet(other, by)),
      forget: (subscription) => {
        // Whoever waited for its place can have it now.
        if (this.#all.delete(subscription)) this.sync();
      },
    };
  }

  /** The topic of this name, new if there is none. A page's cursor is true once: later the page has moved on. */
  get(name: string, since: Position | null | undefined, cursor: () => Position | undefined): Subscription {
    for (const topic of this.#all) {
      if (topic.wanted && (topic.name === name || topic.canonical === name)) return topic;
    }
    const start = since === undefined && !this.#cursorsUsed.has(name) ? cursor() : since;
    this.#cursorsUsed.add(name);
    const topic = new Subscription(name, start ?? undefined, this.#host);
    this.#all.add(topic);
    topic.sync();
    return topic;
  }

  /** A message about a topic that answers no request. */
  received(frame: Event | Reset | PresenceFrame | Left): void {
    for (const topic of this.#all) {
      if (topic.canonical !== frame.topic) continue;
      if (frame.type === "event") topic.event(frame);
      else if (frame.type === "reset") topic.reset(frame);
      else if (frame.type === "presence") topic.presenceNews(frame.payload);
      else if (frame.payload) topic.ended(errorFrom(frame.payload));
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

  suspend(error: LiveError): void {
    for (const topic of this.#all) topic.suspended(error);
  }

  resume(): void {
    for (const topic of this.#all) topic.resumed();
  }

  end(error: LiveError): void {
    for (const topic of this.#all) topic.end("left", error);
  }

  #joined(frame: Joined): void {
    for (const topic of this.#all) {
      if (topic.canonical === frame.topic) topic.joined(frame);
    }
  }

  #others(than: Subscription): Subscription[] {
    return [...this.#all].filter((topic) => topic !== than);
  }
}

function namesMeet(one: Subscription, other: Subscription): boolean {
  return one.name === other.name || one.canonical === other.canonical;
}

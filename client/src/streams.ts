import { EventReader } from "./eventstream.js";
import { refusalOf, type Http, type Refusal } from "./http.js";
import type { TransportName } from "./live.js";
import type { Position } from "./position.js";

/** Messages of the server for a fixed list of topics. The `ref` of an answer is a topic's place in that list, from 1. */
export interface Stream {
  /** The listener hears nothing more. */
  close(): void;
}

export interface StreamListener {
  /** Throws when the text is no message. */
  received(text: string): void;
  /** Something arrived, perhaps no message. */
  alive(): void;
  /** Why the server gives no stream; undefined when it just broke off. `retry` is in milliseconds. */
  ended(refusal: Refusal | undefined, retry?: number): void;
}

export interface StreamSettings {
  readonly http: Http;
  readonly topics: readonly string[];
  /** Where each topic is now. */
  positions(): readonly (Position | undefined)[];
}

export interface StreamKind {
  readonly name: TransportName;
  /** Two streams may be open at a time, so that a change of topics leaves no gap. */
  readonly overlaps: boolean;
  /** Milliseconds that a stream has to begin. */
  readonly timeout: number;
  /** Milliseconds of silence beyond the heartbeat after which a stream is dead. */
  readonly patience: number;
  readonly open: (settings: StreamSettings, listener: StreamListener) => Stream;
}

/** `GET /live/sse`. The server writes a comment each heartbeat. */
export const EVENT_STREAM: StreamKind = {
  name: "sse",
  overlaps: true,
  timeout: 10_000,
  patience: 5_000,
  open: (settings, listener) => run(listener, async (ear, stopped) => readEvents(settings, ear, stopped)),
};

/** `GET /live/poll`. A request waits for 25 seconds at most. */
export const POLLING: StreamKind = {
  name: "polling",
  overlaps: false,
  timeout: 40_000,
  patience: 25_000,
  open: (settings, listener) => run(listener, async (ear, stopped) => poll(settings, ear, stopped)),
};

type Ear = Omit<StreamListener, "ended">;

/** Run a stream until it ends or is closed. */
function run(told: StreamListener, read: (listener: Ear, stopped: AbortSignal) => Promise<Refusal | number | undefined>): Stream {
  const stop = new AbortController();
  const listener = {
    alive: () => {
      told.alive();
    },
    received: (text: string) => {
      if (!stop.signal.aborted) told.received(text);
    },
  };
  const over = (refusal: Refusal | undefined, retry?: number): void => {
    if (!stop.signal.aborted) told.ended(refusal, retry);
    stop.abort();
  };
  read(listener, stop.signal).then(
    (end) => {
      if (typeof end === "number") over(undefined, end);
      else over(end);
    },
    () => {
      over(undefined);
    },
  );
  return {
    close: () => {
      stop.abort();
    },
  };
}

/** The end is a refusal, or the wait that the server asked for should the stream break off. */
async function readEvents(settings: StreamSettings, listener: Ear, stopped: AbortSignal): Promise<Refusal | number | undefined> {
  const { http, topics } = settings;
  const response = await http.listen("sse", topics, settings.positions(), stopped);
  const { body } = response;
  if (!response.ok || !body || !isOf(response, "text/event-stream")) return refusalOf(response);
  const events = new EventReader();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      listener.alive();
      for (const text of events.read(decoder.decode(part.value, { stream: true }))) {
        listener.received(text);
      }
    }
  } catch {
    // It broke off. The wait that the server asked for counts all the same.
  }
  return events.retry;
}

interface Polled {
  readonly session: string;
  readonly ack: number;
  readonly messages: readonly { readonly type: string }[];
}

async function poll(settings: StreamSettings, listener: Ear, stopped: AbortSignal): Promise<Refusal | undefined> {
  const { http, topics } = settings;
  let more: Record<string, string> = {};
  while (!stopped.aborted) {
    const response = await http.listen("poll", topics, settings.positions(), stopped, more);
    if (!response.ok || !isOf(response, "application/json")) return refusalOf(response);
    const { session, ack, messages } = (await response.json()) as Polled;
    listener.alive();
    for (const message of messages) {
      // What follows a goodbye is another connection.
      listener.received(JSON.stringify(message));
      if (message.type === "goodbye") return undefined;
    }
    more = { session, ack: String(ack) };
  }
  return undefined;
}

function isOf(response: Response, type: string): boolean {
  return response.headers.get("content-type")?.startsWith(type) ?? false;
}

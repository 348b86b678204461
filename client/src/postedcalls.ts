import type { Clock } from "./clock.js";
import type { ErrorPayload } from "./frames.js";
import { refusalOf, type Http, type Refusal } from "./http.js";

/** The longest that a call waits for its answer, in milliseconds: twice the time that an action has by default. */
const PATIENCE = 60_000;

/** A call as the client sends it on a WebSocket. */
export interface CallFrame {
  readonly topic: string;
  readonly name: string;
  readonly ref?: number;
  readonly key?: string;
  readonly payload?: object;
}

export interface PostedCallsListener {
  answered(frame: object): void;
  /** A call got no answer of the server: what became of it is not known. */
  failed(refusal: Refusal | undefined): void;
}

/**
 * Calls by `POST /live/call`. The calls of one topic are posted one after the other: requests that run side by side may
 * overtake each other, and calls of one topic are carried out in the order in which they were made. A request without an
 * answer is given up, because a stream that goes on does not show that its line is dead; the call is asked for again by its key.
 */
export class PostedCalls {
  readonly #http: Http;
  readonly #listener: PostedCallsListener;
  readonly #clock: Clock;
  readonly #queues = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(http: Http, clock: Clock, listener: PostedCallsListener) {
    this.#http = http;
    this.#clock = clock;
    this.#listener = listener;
  }

  post(call: CallFrame): void {
    const { topic } = call;
    const before = this.#queues.get(topic);
    const done = (before ? before.then(async () => this.#post(call)) : this.#post(call)).then(() => {
      if (this.#queues.get(topic) === done) this.#queues.delete(topic);
    });
    this.#queues.set(topic, done);
  }

  close(): void {
    this.#stop.abort();
  }

  #isOver(): boolean {
    return this.#stop.signal.aborted;
  }

  async #post({ ref, topic, name, key, payload }: CallFrame): Promise<void> {
    if (this.#isOver()) return;
    const given = new AbortController();
    const giveUp = (): void => { given.abort(); };
    const cancel = this.#clock.after(PATIENCE, giveUp);
    this.#stop.signal.addEventListener("abort", giveUp);
    try {
      const response = await this.#http.call({ topic, name, key, client: this.#http.client, payload }, given.signal);
      const answer = await read(response);
      if (this.#isOver()) return;
      if (!answer) this.#listener.failed(refusalOf(response));
      else if (ref !== undefined || answer.type === "error") this.#listener.answered({ ...answer, ref });
    } catch {
      if (!this.#isOver()) this.#listener.failed(undefined);
    } finally {
      cancel();
      this.#stop.signal.removeEventListener("abort", giveUp);
    }
  }
}

/** The answer of the server, or of a proxy on the way that reports an error of the call itself. */
async function read(response: Response): Promise<{ readonly type: string } | undefined> {
  if (response.headers.get("content-type")?.startsWith("application/json")) {
    const answer = (await response.json()) as { readonly type?: unknown };
    if (answer.type === "result" || answer.type === "error") return answer as { readonly type: string };
    return undefined;
  }
  if (response.status === 413) return error({ code: "too_large", message: "a proxy takes no request as large as this call" });
  const { code, after } = refusalOf(response);
  if (code === "rate_limited" || response.status === 429) return error({ code: "rate_limited", message: "too many requests", ...(after && { retry_after: after }) });
  return undefined;
}

function error(payload: ErrorPayload): { readonly type: string; readonly payload: ErrorPayload } {
  return { type: "error", payload };
}

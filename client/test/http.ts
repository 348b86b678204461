import { settle } from "./clock.js";

/** One request of a client under test. The test is the server. */
export class FakeRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Record<string, unknown> | undefined;
  readonly init: RequestInit;
  #resolve!: (response: Response) => void;
  #reject!: (error: unknown) => void;
  readonly response: Promise<Response>;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  answered = false;

  constructor(url: string, init: RequestInit) {
    this.url = new URL(url);
    this.init = init;
    this.method = init.method ?? "GET";
    this.headers = new Headers(init.headers);
    this.body = typeof init.body === "string" ? (JSON.parse(init.body) as Record<string, unknown>) : undefined;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    init.signal?.addEventListener("abort", () => {
      this.#reject(init.signal?.reason);
      try {
        this.#stream?.error(init.signal?.reason);
      } catch {
        // it has ended
      }
    });
  }

  get endpoint(): string {
    return this.url.pathname.split("/").at(-1) ?? "";
  }

  get topics(): string[] {
    return this.url.searchParams.getAll("topic");
  }

  get aborted(): boolean {
    return this.init.signal?.aborted ?? false;
  }

  async answer(status: number, body: unknown, headers: Record<string, string> = {}): Promise<void> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const type = typeof body === "string" ? "text/plain" : "application/json";
    this.answered = true;
    this.#resolve(new Response(text, { status, headers: { "content-type": type, ...headers } }));
    await wire();
  }

  /** The network is away. */
  async fail(): Promise<void> {
    this.answered = true;
    this.#reject(new TypeError("Failed to fetch"));
    await wire();
  }

  async openStream(): Promise<void> {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
      },
    });
    this.answered = true;
    this.#resolve(new Response(body, { status: 200, headers: { "content-type": "text/event-stream; charset=utf-8" } }));
    await wire();
  }

  async write(text: string): Promise<void> {
    this.#stream?.enqueue(new TextEncoder().encode(text));
    await wire();
  }

  async say(...frames: readonly object[]): Promise<void> {
    await this.write(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(""));
  }

  async end(): Promise<void> {
    this.#stream?.close();
    await wire();
  }
}

/** Streams of the platform take turns of the event loop, and no time of the test's clock. */
export async function wire(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    await settle();
  }
}

export class FakeHttp {
  readonly requests: FakeRequest[] = [];
  onrequest: ((request: FakeRequest) => void) | undefined;

  readonly fetch = (async (url: string, init: RequestInit = {}) => {
    const request = new FakeRequest(url, init);
    this.requests.push(request);
    this.onrequest?.(request);
    return request.response;
  }) as unknown as typeof fetch;

  /** All requests to one endpoint. */
  to(endpoint: string): FakeRequest[] {
    return this.requests.filter((request) => request.endpoint === endpoint);
  }

  /** The newest request to an endpoint. */
  last(endpoint: string): FakeRequest {
    const request = this.to(endpoint).at(-1);
    if (!request) throw new Error(`no request to ${endpoint}`);
    return request;
  }

  /** Requests that still wait or stream. */
  get open(): FakeRequest[] {
    return this.requests.filter(({ aborted, answered }) => !aborted && !answered);
  }
}

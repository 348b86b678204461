import { positive } from "./clock.js";
import type { Position } from "./position.js";

export type Fetch = typeof fetch;

/** A refusal of the server, or of something on the way to it. */
export interface Refusal {
  /** A code of the catalogue, when the server itself refused. */
  readonly code: string | undefined;
  /** Coming back would end the same way. */
  readonly final: boolean;
  /** Seconds to wait before coming back. */
  readonly after: number | undefined;
  readonly status: number;
}

const FINAL: readonly string[] = ["unauthenticated", "origin_refused"];

/** Requests to the endpoints beside `/live/ws` (PROTOCOL.md §6), as one client with one credential. */
export class Http {
  readonly #base: URL;
  readonly #fetch: Fetch;
  client = "";
  token: string | undefined;

  /** `url` is the WebSocket's. */
  constructor(url: string, fetcher: Fetch) {
    this.#base = new URL(url);
    this.#base.protocol = this.#base.protocol.replace(/^ws/, "http");
    this.#fetch = fetcher;
  }

  /** The same client with another credential. */
  as(token: string): Http {
    const other = new Http(this.#base.href, this.#fetch);
    other.client = this.client;
    other.token = token;
    return other;
  }

  /** `GET` of a stream or a poll: `topics` in their order, and the positions of those that have one. */
  async listen(
    endpoint: "sse" | "poll",
    topics: readonly string[],
    positions: readonly (Position | undefined)[],
    signal: AbortSignal,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const url = this.#url(endpoint);
    for (const topic of topics) url.searchParams.append("topic", topic);
    url.searchParams.set("client", this.client);
    const places = positions.map((at, index) => at && `${index + 1}@${at.epoch}:${at.offset}${at.stamp ? `.${at.stamp}` : ""}`);
    const last = places.filter((place) => place).join(";");
    if (last) url.searchParams.set("last-event-id", last);
    for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
    return this.#request(url, { headers: this.#authorization(), signal });
  }

  async call(body: object, signal: AbortSignal): Promise<Response> {
    const csrf = csrfToken();
    const headers = { ...this.#authorization(), "content-type": "application/json", ...(csrf && { "x-csrftoken": csrf }) };
    return this.#request(this.#url("call"), { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async #request(url: URL, init: RequestInit): Promise<Response> {
    const fetcher = this.#fetch; // the browser's must not be called as a method
    // Cookies, as a WebSocket sends them.
    return fetcher(url.href, { ...init, credentials: "include", cache: "no-store" });
  }

  #url(endpoint: string): URL {
    const url = new URL(this.#base);
    url.pathname = url.pathname.replace(/[^/]*$/, endpoint);
    return url;
  }

  #authorization(): Record<string, string> {
    return this.token === undefined ? {} : { authorization: `Bearer ${this.token}` };
  }
}

/** Read an answer other than the requested one. */
export function refusalOf(response: Response): Refusal {
  const { status, headers } = response;
  const code = headers.get("holdfast-code") ?? (status === 401 ? "unauthenticated" : undefined);
  const after = positive(Number(headers.get("retry-after")));
  return { code, final: code !== undefined && FINAL.includes(code), after, status };
}

/** Django's token against request forgery: from its cookie, or from the page where the cookie cannot be read. */
function csrfToken(): string | undefined {
  const { document } = globalThis as { readonly document?: Document };
  const field = document?.querySelector<HTMLInputElement>("input[name=csrfmiddlewaretoken]")?.value;
  const meta = document?.querySelector<HTMLMetaElement>("meta[name=csrf-token]")?.content;
  const [, cookie] = /(?:^|; )csrftoken=([^;]+)/.exec(document?.cookie ?? "") ?? [];
  return cookie ?? field ?? meta;
}

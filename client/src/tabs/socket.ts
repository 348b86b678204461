import type { Clock } from "../clock.js";
import type { Asked } from "../connection.js";
import type { Hello } from "../frames.js";
import type { WebSocketConstructor, WebSocketLike } from "../socket.js";
import type { TabsBrowser } from "./browser.js";
import { groupOf } from "./key.js";
import { Member } from "./member.js";
import type { OpenTransport, Transport } from "../transport.js";
import type { WakeSource } from "../wake.js";

export interface SharedSocketSettings {
  readonly browser: TabsBrowser;
  readonly clock: Clock;
  readonly random: () => number;
  readonly page: WakeSource;
  readonly identity: Asked<string | undefined>;
  readonly transports: readonly string[] | undefined;
  /** What carries a connection, after so many failures in a row. */
  readonly carrier: (failures: number) => OpenTransport | Promise<OpenTransport>;
  readonly tell: (what: string) => void;
  /** What tells this client from others of the page. */
  readonly text: string;
}

/** What a tab keeps from one connection to the next. */
interface Tab {
  failures: number;
  /** Why it has a connection of its own from now on. */
  aside: string | undefined;
  /** The name of the client by which the server knows this tab's calls, by group. */
  readonly clients: Map<string, Name>;
}

interface Name {
  readonly client: string;
  /** The server knew the user of its connection. Otherwise the keys of calls belong to the name. */
  anonymous: boolean;
}

/** A class that looks like `WebSocket` to the client, and shares its connection with other tabs where it can. */
export function sharedSocket(settings: SharedSocketSettings): WebSocketConstructor {
  const tab: Tab = { failures: 0, aside: undefined, clients: new Map() };
  return class extends TabSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols, settings, tab);
    }

    /** Calls of `connect` with options of the same text return the same client. */
    static override toString(): string {
      return settings.text;
    }
  };
}

class TabSocket implements WebSocketLike {
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  readonly #url: string;
  readonly #protocols: readonly string[];
  readonly #settings: SharedSocketSettings;
  readonly #tab: Tab;
  #hello: Hello | undefined;
  #name: Name | undefined;
  #member: Member | undefined;
  /** A connection of its own. */
  #transport: Transport | undefined;
  #over = false;

  constructor(url: string, protocols: readonly string[], settings: SharedSocketSettings, tab: Tab) {
    if (!/^wss?:/.test(url)) throw new SyntaxError(`${url} is no URL of a WebSocket`);
    this.#url = url;
    this.#protocols = protocols;
    this.#settings = settings;
    this.#tab = tab;
    queueMicrotask(() => {
      if (!this.#over) this.onopen?.({});
    });
  }

  send(text: string): void {
    if (this.#over) return;
    this.#settings.tell(`→ ${text.replace(/("token":)"[^"]*"/, '$1"…"')}`);
    if (!this.#hello) void this.#start((this.#hello = JSON.parse(text) as Hello));
    else if (this.#member) this.#member.say(text);
    else this.#transport?.send(text);
  }

  close(code = 1000): void {
    if (this.#over) return;
    this.#finish();
    this.#member?.close(code);
    this.#transport?.close(code);
  }

  // ── its own connection, or a shared one ────────────────────────────────────────────────────────

  async #start(hello: Hello): Promise<void> {
    const { identity, transports, tell } = this.#settings;
    try {
      const { token } = hello.payload;
      const group = await groupOf({ identity, transports }, { url: this.#url, protocols: this.#protocols, token });
      if (this.#over) return;
      const { aside } = this.#tab;
      if (group !== undefined) this.#name = this.#tab.clients.get(group);
      if (group !== undefined && aside === undefined) {
        this.#share(group, hello);
        return;
      }
      tell(`a connection of its own: ${aside ?? "nothing says whose this page is ({% live_script tabs=True %}, or the option identity)"}`);
      await this.#alone(hello);
    } catch (error) {
      this.#closed(1002, String(error));
    }
  }

  #share(group: string, hello: Hello): void {
    const { browser, clock, random, page, carrier, tell } = this.#settings;
    const { clients, failures } = this.#tab;
    const client = (): string => {
      if (!this.#name) clients.set(group, (this.#name = { client: hello.payload.client, anonymous: false }));
      return this.#name.client;
    };
    const settings = {
      ...{ group, browser, clock, random, page, tell, client },
      url: this.#url,
      tokens: hello.payload.token !== undefined,
      hello: () => helloOf(hello, client()),
      open: () => carrier(failures),
    };
    this.#member = new Member(settings, {
      received: (text) => {
        this.#received(text);
      },
      closed: (code, reason) => {
        this.#closed(code, reason);
      },
      aside: (reason) => {
        this.#tab.aside = reason;
        this.#closed(1006, reason);
      },
      accepts: (name) => {
        if (this.#name?.client === name) return true;
        if (this.#name?.anonymous) return false;
        clients.set(group, (this.#name = { client: name, anonymous: false }));
        return true;
      },
    });
  }

  async #alone(hello: Hello): Promise<void> {
    const open = await this.#settings.carrier(this.#tab.failures);
    if (this.#over) return;
    this.#transport = open(this.#url, {
      opened: () => {
        this.#transport?.send(helloOf(hello, this.#name?.client ?? hello.payload.client));
      },
      received: (data) => {
        this.#received(data);
      },
      closed: (code, reason) => {
        this.#closed(code, reason);
      },
    });
  }

  // ── the client's ear ───────────────────────────────────────────────────────────────────────────

  #welcomed = false;

  #received(data: unknown): void {
    if (this.#over) return;
    this.#settings.tell(`← ${String(data)}`);
    if (!this.#welcomed) this.#first(data);
    this.onmessage?.({ data });
  }

  #first(data: unknown): void {
    const found = typeof data === "string" && data.includes('"welcome"') ? (JSON.parse(data) as { readonly type?: string; readonly payload?: { readonly user?: string | null } }) : {};
    if (found.type !== "welcome") return;
    this.#welcomed = true;
    this.#tab.failures = 0;
    if (this.#name) this.#name.anonymous = found.payload?.user === null;
  }

  #closed(code: number, reason: string): void {
    if (this.#over) return;
    this.#finish();
    this.#member?.close(1000);
    this.onclose?.({ code, reason });
  }

  /** A client that gives up a silent connection closes it itself: that is a failure as much as a refusal is. */
  #finish(): void {
    this.#over = true;
    if (!this.#welcomed) this.#tab.failures++;
  }
}

function helloOf(hello: Hello, client: string): string {
  return JSON.stringify({ ...hello, payload: { ...hello.payload, client } });
}

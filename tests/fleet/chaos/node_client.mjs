/**
 * One client of the crowd that is Holdfast's browser client, in Node: joins topics, makes calls, and writes down what its page sees.
 * Its name in the journal is the one that the browser client has given itself.
 */
import { crc32 } from "node:zlib";

import { connect } from "../../../src/holdfast/static/holdfast/holdfast.js";

const RETRY = 700;
const HASTE = { share: 0.2, within: 50 };
const PENDING = 5;
const CSRF = "c".repeat(32);

/** Why the client rejects a call that it may have sent: the topic or the connection has ended. Only its key can find out more. */
const UNKNOWN = ["closed", "connection_lost", "disconnected", "evicted", "forbidden", "left", "unauthenticated", "user_changed"];
/** Errors after which the same call is made again. */
const AGAIN = [...UNKNOWN, "not_joined", "rate_limited", "unavailable"];

const TRANSPORTS = { websocket: undefined, sse: ["sse"], polling: ["polling"], any: ["websocket", "sse", "polling"] };

/** Seconds, on the clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e9;
const pick = (items) => items[Math.floor(Math.random() * items.length)];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class NodeClient {
  hushed = false;
  heads = {};
  pending = new Map();
  #character;
  #ways;
  #note;
  #rooms = new Map();
  #cookie = "";
  #way;
  #link = 0;
  #session;
  #open = false;
  #made = 0;
  #signing = false;
  #live;

  /** `note` takes a record of records.py, as the array that it is in a journal. */
  constructor(character, ways, note) {
    this.#character = character;
    this.#note = note;
    const carrier = character.carrier.slice("node-".length);
    // Node does not show the headers of a WebSocket's handshake, which say what server nginx has chosen.
    const direct = carrier === "websocket" || carrier === "any";
    this.#ways = direct ? ways.filter(({ server }) => server >= 0) : ways;
    this.#way = pick(this.#ways);
    this.transports = TRANSPORTS[carrier];
  }

  start() {
    const live = (this.#live = connect({
      url: () => this.#attempt(),
      WebSocket: this.#socketClass(),
      fetch: (url, init) => this.#fetch(url, init),
      transports: this.transports,
      backoff: { base: 100, cap: 2_000 },
      connectTimeout: 6_000,
      shared: false,
    }));
    live.on("status", (status, { error }) => this.#status(status, error));
    for (const topic of this.#character.topics) this.#join(topic);
    void this.#makeCalls();
  }

  close() {
    this.hushed = true;
    this.#live.close();
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────

  async #attempt() {
    this.#way = pick(this.#ways);
    if (!this.#cookie) await this.#signIn();
    return `ws://127.0.0.1:${this.#way.port}/live/ws`;
  }

  async #signIn() {
    const { user } = this.#character;
    const { client } = this.#live;
    const url = `http://127.0.0.1:${this.#way.port}/login/?user=${encodeURIComponent(user)}&client=${encodeURIComponent(client)}`;
    const answer = await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(6_000) });
    const cookie = answer.headers.getSetCookie().find((text) => text.startsWith("sessionid="));
    if (!cookie) throw new Error(`no cookie: ${answer.status}`);
    this.#cookie = cookie.split(";")[0];
  }

  get #headers() {
    return { Cookie: `${this.#cookie}; csrftoken=${CSRF}`, Origin: `http://127.0.0.1:${this.#way.port}`, "X-CSRFToken": CSRF };
  }

  /** `fetch` with the page's headers, which notes the connections that a server accepts: the client goes on over a new one by itself. */
  async #fetch(url, init) {
    const response = await fetch(url, { ...init, headers: { ...init.headers, ...this.#headers } });
    const { pathname } = new URL(url);
    if (response.ok && pathname.endsWith("/sse")) this.#write("renewed", this.#link);
    if (response.ok && pathname.endsWith("/poll")) {
      // An answer that is cut breaks here as it does in the client.
      const { session } = await response.clone().json();
      if (session !== this.#session) this.#write("renewed", this.#link);
      this.#session = session;
    }
    return response;
  }

  #socketClass() {
    const headers = () => this.#headers;
    return class extends WebSocket {
      constructor(url, protocols) {
        super(url, { protocols, headers: headers() });
      }
    };
  }

  #status(status, error) {
    if (status === "online" && this.#live.user !== null) {
      this.#open = true;
      const via = `${this.#way.name}/${this.#live.state.transport}`;
      this.#write("opened", ++this.#link, this.#live.user, this.#way.server, via);
    } else if (this.#open) {
      this.#open = false;
      this.#write("closed", this.#link, 1006, error?.code ?? "");
    }
    // The session has ended: on a WebSocket that is a welcome without a user, or a final close.
    if (status === "closed" || (status === "online" && this.#live.user === null)) void this.#comeBack();
  }

  async #comeBack() {
    if (this.#signing) return;
    this.#signing = true;
    this.#cookie = "";
    await pause(RETRY);
    this.#signing = false;
    if (!this.closed) this.#live.reconnect();
  }

  get closed() {
    return this.#live.state.error?.code === "closed";
  }

  #write(kind, ...fields) {
    this.#note([kind, this.#live.client, ...fields, now()]);
  }

  // ── topics ─────────────────────────────────────────────────────────────────────────────────────

  #join(name) {
    if (this.closed) return;
    const room = this.#live.topic(name);
    this.#rooms.set(name, room);
    const again = () => setTimeout(() => this.#join(name), RETRY);
    const members = () => (room.presence.listed ? room.presence.members.map(({ id }) => id) : null);
    room.lifecycle.on("joined", ({ position, recovered, again: known }) => {
      this.#write("joined", this.#link, name, known ? 0 : null, position?.epoch ?? null, position?.offset ?? null, recovered, members());
    });
    room.lifecycle.on("reset", ({ reason, position }) => this.#write("reset", this.#link, name, reason, position?.offset ?? null));
    room.lifecycle.on("refused", ({ error }) => {
      if (error.code === "closed") return;
      this.#write("refused", this.#link, name, error.code);
      again();
    });
    room.lifecycle.on("left", ({ error }) => {
      if (error?.code === "closed") return;
      this.#write("left", this.#link, name, error?.code ?? "");
      again();
    });
    room.presence.on("change", () => {
      const list = members();
      if (list && room.status === "joined") this.#write("presence", this.#link, name, [], [], list);
    });
    room.on("*", (payload, { name: event, offset }) => {
      this.#write("got", this.#link, name, event, payload.value, crc32(JSON.stringify(payload)), offset ?? null);
    });
  }

  /** The topics that are not joined, or whose last event is yet to come. */
  get missing() {
    return [...this.#rooms].filter(([name, room]) => room.status !== "joined" || (room.position?.offset ?? 0) < (this.heads[name] ?? 0)).map(([name]) => name);
  }

  finish() {
    this.#write("finished", this.missing, [...this.pending].map(([key, action]) => `${action} ${key}`));
  }

  // ── calls ──────────────────────────────────────────────────────────────────────────────────────

  async #makeCalls() {
    const rate = this.#character.calls_per_second;
    while (rate && !this.hushed) {
      await pause((-Math.log(1 - Math.random()) / rate) * 1_000);
      const rooms = [...this.#rooms].filter(([, room]) => room.status === "joined" && room.position);
      if (rooms.length && !this.hushed && this.pending.size < PENDING) void this.#call(pick(rooms)[0]);
    }
  }

  /** Make a call, again with its key if need be, until it has an answer. */
  async #call(name) {
    const { hasty } = this.#character;
    const { client } = this.#live;
    const number = ++this.#made;
    const [key, value] = [`${client}-${number}`, `${client}:${number}`];
    const action = pick(["post", "post", "post_to_others", "shout"]);
    const payload = action === "shout" ? { value } : { value, pad: pick([0, 0, 200, 2_000]) };
    this.pending.set(key, action);
    for (let code = "unavailable"; AGAIN.includes(code) && !this.closed; ) {
      this.#write("asked", this.#link, name, action, key, value);
      if (hasty && !this.hushed && Math.random() < HASTE.share) setTimeout(() => this.closed || this.#live.reconnect(), Math.random() * HASTE.within);
      try {
        const result = await this.#rooms.get(name).call(action, payload, { key });
        code = "";
        this.#write("answered", this.#link, key, String(result), code);
      } catch (error) {
        code = error.code;
        this.#write("answered", this.#link, key, "", UNKNOWN.includes(code) ? "outcome_unknown" : code);
        await pause(RETRY);
      }
    }
    this.pending.delete(key);
  }
}

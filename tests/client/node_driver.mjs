/**
 * The browser client in Node, for the tests in Python: each line of the standard input is a schedule to play, as JSON, and what happened
 * is written to the standard output. At the end of its input the process ends by itself, unless a timer or a socket is left.
 */
import { createInterface } from "node:readline";

import { connect } from "../../src/holdfast/static/holdfast/holdfast.js";

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** The clients that play, by the id of their schedule. */
const clients = new Map();

/** A source of events as `window` is one, which counts its listeners. */
class Page extends EventTarget {
  listeners = 0;

  addEventListener(name, listener, options) {
    this.listeners++;
    options?.signal?.addEventListener("abort", () => this.listeners--, { once: true });
    super.addEventListener(name, listener, options);
  }
}

/** A WebSocket class that sends headers, as a browser sends the page's cookie and origin. */
function socketClass(headers, opened) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, { protocols, headers });
      opened();
    }
  };
}

/** `fetch` with the headers that a browser would send by itself. */
function fetcher(headers, began) {
  return (url, init) => {
    began();
    return fetch(url, { ...init, headers: { ...init.headers, ...headers } });
  };
}

/**
 * The attempts of a client after its first, in seconds, for the judge (`Attempt` in `schedule.py`). `live` tells what it plans, and
 * `opened` is called when a connection is opened. The clock is monotonic; what delays this process lengthens the times only.
 */
class Attempts {
  list = [];
  #beganAt = performance.now();
  #online = false;
  #plan;

  status(status, { retryAt, retryIn }) {
    if (status === "waiting") {
      // The client planned it at `retryAt - retryIn`; a machine under load may run this some time later.
      const now = performance.now();
      const plannedAt = now - (Date.now() - (retryAt - retryIn));
      const lasted = this.#online ? now - this.#beganAt : 0;
      this.#plan = { plannedAt, retryIn, lasted: Math.max(lasted, this.#plan?.lasted ?? 0) };
    } else if (status === "connecting") this.opened();
    this.#online = status === "online";
  }

  opened() {
    if (!this.#plan) return;
    const { plannedAt, retryIn, lasted } = this.#plan;
    this.#plan = undefined;
    this.#beganAt = performance.now();
    this.list.push({ lasted: lasted / 1_000, planned: retryIn / 1_000, waited: (this.#beganAt - plannedAt) / 1_000 });
  }
}

async function play({ id, seed, url, transport, topic, headers, texts, chance, base, cap, options = {} }) {
  const page = new Page();
  const attempts = new Attempts();
  const opened = () => attempts.opened();
  const carrier =
    transport === "websocket"
      ? { WebSocket: socketClass(headers, opened) }
      : { transports: [transport], fetch: fetcher(headers, opened) };
  const live = connect({
    url,
    ...carrier,
    random: () => chance,
    backoff: { base: base * 1_000, cap: cap * 1_000 },
    page: { window: page },
    shared: false,
    ...options,
  });
  const events = [];
  let answered = 0;
  const startedAt = performance.now();
  let heardAt = startedAt;
  const heard = () => (heardAt = performance.now());
  const seconds = (since) => ((performance.now() - since) / 1_000).toFixed(1);
  const standing = () =>
    `seed ${seed} after ${seconds(startedAt)} s: ${answered} answers and ${events.length} events of ${texts.length}, ` +
    `the last one ${seconds(heardAt)} s ago, ${attempts.list.length} attempts to come back, ${JSON.stringify(live.state)}`;
  clients.set(id, { live, standing });
  live.on("status", (status, detail) => attempts.status(status, detail));
  const room = live.topic(topic);
  const all = new Promise((resolve) => {
    room.on("*", (payload) => {
      events.push(payload);
      heard();
      if (events.length === texts.length) resolve();
    });
  });
  await room.ready;
  say({ id, ready: true });
  const call = async (text) => {
    const answer = await room.call("say", { text });
    answered++;
    heard();
    return answer;
  };
  const answers = await Promise.all(texts.map(call));
  say({ id, answers });
  await all;
  live.close();
  const left = page.listeners ? [`${page.listeners} listeners of the page`] : [];
  say({ id, events, attempts: attempts.list, left });
}

function end(id) {
  const client = clients.get(id);
  // One that has not ended by itself: say where it stood.
  if (client && client.live.status !== "closed") console.error("given up:", client.standing());
  client?.live.close();
  clients.delete(id);
}

/** Each socket that keeps the process, as text. */
function sockets() {
  const handles = process._getActiveHandles().filter((handle) => handle.remotePort);
  return handles.map(({ localPort, remotePort, readyState, pending }) => `${localPort} to ${remotePort}: ${readyState}${pending ? ", pending" : ""}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const schedule = JSON.parse(line);
  if (schedule.end) end(schedule.end);
  else {
    play(schedule)
      .catch((error) => say({ id: schedule.id, error: String(error.stack ?? error) }))
      .finally(() => end(schedule.id));
  }
}

// If something keeps the process, say what.
setTimeout(() => console.error("still there:", process.getActiveResourcesInfo(), sockets()), 5_000).unref();

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

async function play({ id, url, transport, topic, headers, texts, chance, base, cap, options = {} }) {
  const page = new Page();
  const waits = [];
  let endedAt;
  const opened = () => {
    if (endedAt !== undefined) waits.push((Date.now() - endedAt) / 1_000);
    endedAt = undefined;
  };
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
  clients.set(id, live);
  live.on("status", (status, { retryAt, retryIn }) => {
    // Not the time of this call: a machine under load may run it some milliseconds later.
    if (status === "waiting") endedAt = retryAt - retryIn;
  });
  const room = live.topic(topic);
  const events = [];
  const all = new Promise((resolve) => {
    room.on("*", (payload) => {
      events.push(payload);
      if (events.length === texts.length) resolve();
    });
  });
  await room.ready;
  say({ id, ready: true });
  const answers = await Promise.all(texts.map((text) => room.call("say", { text })));
  say({ id, answers });
  await all;
  live.close();
  say({ id, events, waits, left: page.listeners ? [`${page.listeners} listeners of the page`] : [] });
}

function end(id) {
  const live = clients.get(id);
  // One that has not ended by itself: say where it stood.
  if (live && live.status !== "closed") console.error("given up:", JSON.stringify(live.state));
  live?.close();
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

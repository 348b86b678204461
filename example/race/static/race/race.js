// @ts-check
// A feed that is faster than the eye, over server-sent events, and beside it a reader that is too slow for it.

import { Chart } from "./chart.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const pause = /** @type {HTMLInputElement} */ ($("pause"));
const sleep = (/** @type {number} */ seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));
const url = `/live/sse?topic=${encodeURIComponent($("race").dataset.topic ?? "")}`;

/** Counts what one reader gets. The publisher's clock is not ours: what counts is how much later than at best it arrives. */
class Reader {
  /** @type {Map<number, number>} */ ticks = new Map();
  events = 0;
  left = 0;
  late = 0;
  soonest = Infinity;

  /** @param {{ boat: number, tick: number, at: number }} moved */
  take({ boat, tick, at }) {
    const late = Date.now() / 1000 - at;
    this.soonest = Math.min(this.soonest, late);
    this.late = late - this.soonest;
    this.left += Math.max(0, tick - (this.ticks.get(boat) ?? tick) - 1);
    this.ticks.set(boat, tick);
    this.events += 1;
  }

  /** @param {string} name */
  show(name) {
    const rate = this.events;
    put(name, "rate", rate.toLocaleString());
    put(name, "behind", `${this.late.toFixed(1)} s`);
    put(name, "left", rate ? `${Math.round((100 * this.left) / (this.left + rate))} %` : "–");
    this.events = this.left = 0;
  }
}

/** @param {string} reader @param {string} value @param {string} text */
function put(reader, value, text) {
  const place = document.querySelector(`[data-reader=${reader}] [data-value=${value}]`);
  if (place) place.textContent = text;
}

const chart = new Chart(/** @type {HTMLCanvasElement} */ ($("chart")));
const quick = new Reader();
const slow = new Reader();
/** @type {Map<string, Record<string, number>>} */ const servers = new Map();
const totals = { delivered: 0, superseded: 0, conflated: 0 };

const stream = new EventSource(url); // it reconnects by itself
stream.onopen = () => status("online", "Online");
stream.onerror = () => {
  chart.boats.clear(); // where they are now is not known
  status("waiting", stream.readyState === EventSource.CLOSED ? "Ended: reload the page" : "Reconnecting");
};
stream.onmessage = ({ data }) => {
  const { name, payload } = JSON.parse(data);
  if (name === "boat.moved") {
    quick.take(payload);
    chart.boats.set(payload.boat, { knots: payload.knots, drawn: chart.boats.get(payload.boat)?.drawn ?? 0 });
  } else if (name === "served") {
    const before = servers.get(payload.server);
    servers.set(payload.server, payload);
    for (const key of /** @type {(keyof typeof totals)[]} */ (Object.keys(totals))) totals[key] += before ? payload[key] - before[key] : 0;
  }
};

/** Read a stream of its own, 16 KB at a time, with pauses. The buffers of browser and system fill up, and then the server's. */
async function readSlowly() {
  const response = await fetch(url);
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader({ mode: "byob" });
  const decoder = new TextDecoder();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read(new Uint8Array(16_384));
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const { name, payload } = line.startsWith("data: ") ? JSON.parse(line.slice(6)) : {};
      if (name === "boat.moved") slow.take(payload);
    }
    await sleep(Number(pause.value));
  }
}

/** @param {string} state @param {string} text */
function status(state, text) {
  $("status").dataset.status = state;
  /** @type {Element} */ ($("status").querySelector(".status-text")).textContent = text;
}

pause.addEventListener("input", () => ($("paused").textContent = `${pause.value} s`));
setInterval(() => {
  quick.show("quick");
  slow.show("slow");
  for (const [key, value] of Object.entries(totals)) put("server", key, value.toLocaleString());
  totals.delivered = totals.superseded = totals.conflated = 0;
  $("leaders").replaceChildren(...chart.leaders.map((boat) => Object.assign(document.createElement("li"), { textContent: `Boat ${boat + 1}, ${chart.boats.get(boat)?.knots.toFixed(1)} kn` })));
}, 1000);

/** @type {number[]} */ let leaders = [];
setInterval(() => (leaders = chart.leaders), 250);
const still = matchMedia("(prefers-reduced-motion: reduce)");
(function frame(/** @type {number} */ now = performance.now()) {
  chart.draw(now, leaders);
  void (still.matches ? sleep(1).then(() => frame()) : requestAnimationFrame(frame));
})();
for (;;) {
  await readSlowly().catch(() => {});
  await sleep(2); // the server ends streams that take nothing for half a minute
}

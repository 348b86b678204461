// @ts-check
// The servers' numbers as lines over three minutes. All sums are made here, from what each server counts since it started.

import { connect } from "holdfast";

import { showStatus } from "../harbor/status.js";

const SECONDS = 180;
const FEWEST = 30; // seconds across a plot at first
const GONE = 5_000; // milliseconds of silence after which a server is no longer counted
const COLUMNS = ["connections_websocket", "connections_sse", "connections_polling", "delivered", "events_conflated", "subscribers_fell_behind", "connections_stalled", "log_reads"];

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const live = connect();
const bridge = live.topic(/** @type {import("topics").Bridge["name"]} */ ($("bridge").dataset.topic));

const say = (/** @type {number} */ value) => value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 });

/** A line or two that move to the left, one step a second. */
class Plot {
  /** @type {number[][]} */ #values = [];
  #canvas;
  #now;
  #since;

  /** @param {string} name */
  constructor(name) {
    const figure = /** @type {HTMLElement} */ (document.querySelector(`[data-plot=${name}]`));
    this.#canvas = /** @type {HTMLCanvasElement} */ (figure.querySelector("canvas"));
    this.#now = /** @type {HTMLOutputElement} */ (figure.querySelector("output"));
    this.#since = /** @type {HTMLElement} */ (figure.querySelector("small"));
  }

  /** @param {number[]} values one for each line */
  add(...values) {
    this.#now.value = values.map(say).join(" / ");
    this.#values.push(values);
    if (this.#values.length > SECONDS) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const width = (canvas.width = canvas.clientWidth * devicePixelRatio);
    const height = (canvas.height = canvas.clientHeight * devicePixelRatio);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const span = Math.max(FEWEST, this.#values.length); // the first values fill a plot too
    this.#since.textContent = `Last ${span} s, up to ${say(Math.max(...this.#values.flat()))}`;
    const most = Math.max(1e-9, ...this.#values.flat()) * 1.15;
    const style = getComputedStyle(canvas);
    for (const [line, colour] of [[1, "--brass"], [0, "--tide"]]) {
      context.strokeStyle = style.getPropertyValue(String(colour));
      context.lineWidth = 2 * devicePixelRatio;
      context.lineJoin = "round";
      context.beginPath();
      this.#values.forEach((values, index) => {
        const x = width - ((this.#values.length - 1 - index) / (span - 1)) * width;
        const value = values[Number(line)];
        if (value !== undefined) context.lineTo(x, height - (value / most) * height);
      });
      context.stroke();
    }
  }
}

const plots = Object.fromEntries(["connections", "delivered", "latency", "lag", "cpu", "memory"].map((name) => [name, new Plot(name)]));

/** @typedef {{ numbers: Record<string, number>, rates: Record<string, number>, at: number }} Server */
/** @type {Map<string, Server>} */ const servers = new Map();
/** @type {Map<string, { first: number, since: number }>} */ const logs = new Map();
/** @type {number[]} */ let latencies = [];
/** @type {Set<number>} */ const sent = new Set();

/** @param {{ server: string, numbers: Record<string, number> }} report */
function take({ server, numbers }) {
  const before = servers.get(server);
  const now = performance.now();
  const rate = (/** @type {string} */ name) => (before ? Math.max(0, numbers[name] - before.numbers[name]) / ((now - before.at) / 1000) : 0);
  servers.set(server, { numbers, at: now, rates: { delivered: rate("events_delivered"), cpu: rate("cpu_seconds") } });
}

/** @param {string[]} cells */
function row(cells) {
  const row = document.createElement("tr");
  row.append(...cells.map((text, index) => Object.assign(document.createElement(index ? "td" : "th"), { textContent: text })));
  return row;
}

function show() {
  const now = performance.now();
  for (const [name, { at }] of servers) if (now - at > GONE) servers.delete(name);
  const all = [...servers.values()];
  if (!all.length) return;
  const sum = (/** @type {(server: Server) => number} */ of) => all.reduce((total, server) => total + (of(server) || 0), 0);
  plots.connections.add(sum(({ numbers }) => numbers.connections));
  plots.delivered.add(sum(({ rates }) => rates.delivered));
  plots.lag.add(Math.max(...all.map(({ numbers }) => numbers.lag_ms)));
  plots.cpu.add(sum(({ rates }) => rates.cpu));
  plots.memory.add(sum(({ numbers }) => numbers.memory_mb));
  const sorted = latencies.slice(-100).sort((one, other) => one - other);
  if (sorted.length) plots.latency.add(sorted[Math.floor(sorted.length / 2)], sorted[Math.ceil(sorted.length * 0.99) - 1]);
  $("rows").replaceChildren(
    ...[...servers].map(([name, { numbers, rates }]) => row([name, ...COLUMNS.map((key) => Math.round(key in rates ? rates[key] : (numbers[key] ?? 0)).toLocaleString())])),
  );
}

/** @param {Record<string, number>} heads */
function showHeads(heads) {
  const now = performance.now();
  const rows = Object.entries(heads).map(([topic, head]) => {
    const { first, since } = logs.get(topic) ?? { first: head, since: now };
    logs.set(topic, { first, since });
    return row([topic, head.toLocaleString(), Math.round(((head - first) * 60_000) / Math.max(60_000, now - since)).toLocaleString()]);
  });
  $("heads").replaceChildren(...rows);
}

bridge.on("server.report", take);
bridge.on("heads", ({ heads }) => showHeads(heads));
bridge.on("pulse", (pulse) => {
  if (sent.delete(pulse.sent)) latencies = [...latencies.slice(-99), performance.now() - pulse.sent]; // those of other pages are theirs
});
setInterval(() => {
  if (live.status !== "online") return;
  const now = performance.now();
  sent.add(now);
  if (sent.size > 100) sent.clear(); // lost on the way
  bridge.send("pulse", { sent: now });
}, 500);
setInterval(show, 1000);
showStatus(live);

// @ts-check
// One pad: a textarea that several people write in, with their cursors.

import { connect } from "holdfast";
import { bindTextarea } from "holdfast/textarea";
import { YjsProvider } from "holdfast/yjs";
import { Doc } from "yjs";

import { showStatus } from "../harbor/status.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const area = /** @type {HTMLTextAreaElement} */ ($("text"));
const { topic: name = "", writable } = $("pad").dataset;

const live = connect();
const status = showStatus(live, "What you write is kept in this page, and merged when it is back.");
// --8<-- [start:provider]
const topic = live.topic(/** @type {import("topics").Pad["name"]} */ (name));
const doc = new Doc();
const provider = new YjsProvider(topic, doc);
await provider.whenSynced; // at once, with the document that the page came with
const binding = bindTextarea(doc.getText("text"), area, { awareness: provider.awareness });
area.readOnly = writable !== "yes";
// --8<-- [end:provider]

// ── where the others are ─────────────────────────────────────────────────────────────────────────

const HUES = 6;
/** @type {Map<number, number>} */ const hues = new Map();

/** Another colour for each client, as long as there is one left. @param {number} client */
function hueOf(client) {
  const others = provider.awareness.getStates();
  for (const each of hues.keys()) if (!others.has(each)) hues.delete(each);
  const free = [...Array(HUES).keys()].find((hue) => ![...hues.values()].includes(hue));
  if (!hues.has(client)) hues.set(client, free ?? client % HUES);
  return String(hues.get(client));
}

/** The text once more, invisible and below the textarea, with marks where the others are. */
function mirror() {
  const text = area.value;
  const marks = binding.cursors().flatMap(({ client, user, anchor, head }) => {
    const [start, end] = [Math.min(anchor, head), Math.max(anchor, head)];
    return [{ at: start, end, client, user }, { at: head, client, user }];
  });
  if (!marks.length) return $("mirror").replaceChildren(); // so that a long text costs nothing
  const parts = [];
  let done = 0;
  for (const { at, end, client, user } of marks.sort((one, other) => one.at - other.at)) {
    parts.push(text.slice(done, Math.max(done, at)));
    done = Math.max(done, at);
    const mark = document.createElement(end === undefined ? "i" : "mark");
    mark.dataset.hue = hueOf(client);
    if (end === undefined) mark.dataset.name = String(user.name);
    else done += (mark.textContent = text.slice(done, end)).length;
    parts.push(mark);
  }
  $("mirror").replaceChildren(...parts, text.slice(done), "\u200b");
  $("mirror").scrollTop = area.scrollTop;
  return undefined;
}

/** The names of those who have the pad open, each in the colour of their cursor. */
function writers() {
  const states = [...provider.awareness.getStates()].filter(([client]) => client !== doc.clientID);
  $("writers").replaceChildren(
    ...states.map(([client, { user }]) => {
      const item = document.createElement("li");
      item.dataset.hue = hueOf(client);
      item.textContent = /** @type {{ name: string }} */ (user).name;
      return item;
    }),
  );
}

let drawing = 0;
function draw() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(mirror);
}

doc.on("update", draw);
provider.awareness.on("change", draw);
provider.awareness.on("change", writers);
area.addEventListener("scroll", () => ($("mirror").scrollTop = area.scrollTop));
addEventListener("resize", draw);
writers();
draw();

// ── whether it is saved ──────────────────────────────────────────────────────────────────────────

const REFUSED = {
  read_only: "You may not change this pad any more. What you wrote is in this page only.",
  document_full: "The pad is full. Delete something, or what you wrote stays in this page only.",
};

function saved() {
  const { unsent, error } = provider.state;
  if (writable !== "yes") return;
  const refused = REFUSED[/** @type {keyof typeof REFUSED} */ (error?.reason ?? "")];
  $("saved").textContent = refused ?? (unsent ? (live.status === "online" ? "Saving…" : "Not saved yet: it waits for the connection.") : "Saved");
  $("saved").classList.toggle("failed", !!error);
}

provider.subscribe(saved);
live.on("status", saved);
saved();
addEventListener("beforeunload", (event) => {
  if (provider.state.unsent) event.preventDefault();
});

function end() {
  area.readOnly = true;
  status.gone("This pad is not open to you any more.");
}
topic.lifecycle.on("left", end);
topic.lifecycle.on("refused", end);

// One room: the parts of the page, tied to the live topic.

import { connect } from "holdfast";
import { CallQueue } from "holdfast/queue";

import { MessageList } from "./messages.js";
import { Here, Typing } from "./people.js";
import { read } from "./rooms.js";
import { History, Scrolling } from "./scrolling.js";
import { showStatus } from "../harbor/status.js";
import { Composer, Outbox } from "./writing.js";

const MOST_MESSAGES = 500; // on the page while the reader is at the end; older ones come back on scrolling up
const FEWEST_MESSAGES = 200;

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
const { topic: name, me, user, history: url } = $("room").dataset;

const live = connect();
// From the position that the page was rendered at.
const topic = live.topic(/** @type {import("topics").Room["name"]} */ (name));

const list = new MessageList($("messages"), { template: $("message-template"), me });
const scrolling = new Scrolling($("log"), $("jump"));
scrolling.toEnd();

const history = new History({
  url,
  log: $("log"),
  place: $("older"),
  beginning: `This is where ${document.querySelector("h1")?.textContent} begins.`,
  oldest: () => list.oldest,
  show: (messages) => scrolling.keeping(() => messages.forEach((message) => list.add(message))),
});
const outbox = new Outbox({
  call: (body) => queue.call(topic, "post", { body }),
  list,
  me,
  template: $("pending-template"),
});
const queue = new CallQueue(live, {
  user,
  storage: "local", // what was written is sent even if the tab was closed
  restored({ topic, payload, at, result }) {
    const { body } = /** @type {{ body: string }} */ (payload);
    if (topic === name) outbox.restore(body, at, result); // that of another room is sent all the same
  },
});
const typing = new Typing($("typing"), () => topic.send("typing", {}));
const here = new Here($("here"), $("who"), { template: $("message-template"), me });
const status = showStatus(live, "What you write waits, and is sent when you are back.");

new Composer($("composer"), {
  room: name,
  typed: () => typing.typed(),
  send(body) {
    $("hush").hidden = true;
    outbox.send(body);
    typing.sent();
    scrolling.grown({ mine: true });
  },
});

function show(message) {
  outbox.arrived(message);
  typing.stopped(message.author);
  const element = list.add(message);
  if (!element) return;
  if (away && message.author !== me) {
    away = false;
    list.divide(element, "While you were away");
  }
  readSoon();
  $("hush").hidden = true;
  scrolling.grown({ mine: message.author === me });
  if (scrolling.following && list.size > MOST_MESSAGES) {
    forgetBefore(list.fromEnd(FEWEST_MESSAGES));
  }
}

let away = false; // until the first message that came in the meantime is here, or none has come
let caughtUp;
let reading;

/** Tell the server what has been read, once for all messages that come together. */
function readSoon() {
  clearTimeout(reading);
  if (document.visibilityState === "visible" && list.newest) reading = setTimeout(() => read(list.newest), 500);
}

function forgetBefore(id) {
  scrolling.keeping(() => {
    if (list.forgetBefore(id)) history.forgotten();
  });
}

/** Something may have been missed, and the stream says so: take the newest from the server, as it has them now. */
async function catchUp() {
  try {
    const newest = await history.newest();
    if (newest.length) forgetBefore(newest[0].id); // or there might be a gap before it
    newest.forEach(show);
  } catch {
    setTimeout(catchUp, 2_000);
  }
}

topic.on("message.posted", show);
topic.on("typing", ({ author }) => typing.heardOf(author));
topic.presence.on("change", (members) => here.show(members, topic.presence.count));
topic.lifecycle.on("reset", () => void catchUp());
topic.lifecycle.on("joined", ({ recovered }) => {
  if (!recovered) void catchUp();
  caughtUp = setTimeout(() => (away = false), 2_000);
});
topic.lifecycle.on("left", end);
topic.lifecycle.on("refused", end);

function end() {
  $("body").disabled = true;
  status.gone("You are not in this room any more.");
}

live.on("status", (now) => {
  outbox.online = now === "online";
  if (now === "waiting") {
    away = true;
    clearTimeout(caughtUp); // of the join before
  }
  if (now !== "online") typing.clear();
  here.stale(now !== "online");
});
outbox.online = live.status === "online";

addEventListener("visibilitychange", readSoon);
readSoon();
if (matchMedia("(hover: hover)").matches) $("body").focus(); // on a phone it would bring up the keyboard

addEventListener("beforeunload", (event) => {
  if (!outbox.empty) event.preventDefault();
});

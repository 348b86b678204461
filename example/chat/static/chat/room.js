// One room: the parts of the page, tied to the live topic.

import { connect } from "holdfast";

import { Composer } from "./composer.js";
import { History } from "./history.js";
import { MessageList } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Scrolling } from "./scrolling.js";
import { Status } from "./status.js";
import { Typing } from "./typing.js";

const MOST_MESSAGES = 500; // on the page while the reader is at the end; older ones come back on scrolling up
const FEWEST_MESSAGES = 200;

const $ = (id) => document.getElementById(id);
const { topic: name, position, me, history: url } = $("room").dataset;

const live = connect();
const topic = live.topic(name, { since: position });

const list = new MessageList($("messages"), { template: $("message-template"), me });
const scrolling = new Scrolling($("log"), $("jump"));
scrolling.toEnd();

const history = new History({
  url,
  log: $("log"),
  place: $("older"),
  beginning: `This is where ${document.querySelector("h1").textContent} begins.`,
  oldest: () => list.oldest,
  show: (messages) => scrolling.keeping(() => messages.forEach((message) => list.add(message))),
});
const outbox = new Outbox({
  call: (body) => topic.call("post", { body }),
  list,
  me,
  template: $("pending-template"),
});
const typing = new Typing($("typing"), () => topic.send("typing", {}));
const status = new Status($("status"), $("notice"), { retry: () => live.reconnect() });

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
  if (!list.add(message)) return;
  $("hush").hidden = true;
  scrolling.grown({ mine: message.author === me });
  if (scrolling.following && list.size > MOST_MESSAGES) {
    scrolling.keeping(() => list.trim(FEWEST_MESSAGES));
    history.forgotten();
  }
}

/** The stream has a hole that it cannot fill (it says so): begin again from what the server has now. */
async function startOver() {
  const newest = await history.newest();
  list.clear();
  newest.forEach((message) => {
    outbox.arrived(message);
    list.add(message);
  });
  scrolling.toEnd();
}

topic.on("message.posted", show);
topic.on("typing", ({ author }) => typing.heardOf(author));
topic.lifecycle.on("reset", () => void startOver());

live.on("status", (now, detail) => {
  outbox.online = now === "online";
  status.show(now, { seconds: detail?.seconds });
});
outbox.online = live.status === "online";
status.show(live.status);

addEventListener("beforeunload", (event) => {
  if (!outbox.empty) event.preventDefault();
});

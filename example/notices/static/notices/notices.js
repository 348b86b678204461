// @ts-check
// The number on the bell and in the tab's title, on every page; and the list of notices, where that is open.

import { connect } from "holdfast";

import { showTimes } from "../harbor/dates.js";
import { showStatus } from "../harbor/status.js";

const bell = /** @type {HTMLElement} */ (document.getElementById("bell"));
const list = document.getElementById("notices");
const unread = new Set((bell.dataset.unread ?? "").split(" ").filter(Boolean).map(Number));
const title = document.title;

const live = connect();
const inbox = live.topic(/** @type {import("topics").Inbox["name"]} */ (bell.dataset.topic)); // from the position that the page was rendered at

function count() {
  bell.hidden = unread.size === 0;
  bell.textContent = unread.size > 99 ? "99+" : String(unread.size);
  bell.setAttribute("aria-label", `${unread.size} unread`);
  document.title = unread.size ? `(${bell.textContent}) ${title}` : title;
  const button = document.querySelector("#read-all button");
  if (button instanceof HTMLButtonElement) button.disabled = unread.size === 0;
}

/** @param {{ id: number, text: string, url: string, at: string }} notice */
function add({ id, text, url, at }) {
  unread.add(id);
  count();
  const template = document.getElementById("notice-template");
  if (!list || !(template instanceof HTMLTemplateElement)) return;
  const item = /** @type {HTMLElement} */ (template.content.cloneNode(true)).querySelector("li");
  const [link, time] = [item?.querySelector("a"), item?.querySelector("time")];
  if (!item || !link || !time) return;
  item.dataset.id = String(id);
  link.textContent = text;
  link.href = url;
  time.dateTime = at;
  showTimes([time]);
  list.prepend(item);
  document.getElementById("none")?.setAttribute("hidden", "");
}

/** @param {number} last */
function read(last) {
  for (const id of unread) if (id <= last) unread.delete(id);
  for (const item of list?.querySelectorAll(".unread") ?? []) {
    if (Number(/** @type {HTMLElement} */ (item).dataset.id) <= last) item.classList.remove("unread");
  }
  count();
}

/** The stream has a gap, perhaps after a month away: what the server shows now is what counts. */
const reload = () => location.reload();

inbox.on("notice.added", add);
inbox.on("notices.read", ({ up_to }) => read(up_to));
inbox.lifecycle.on("reset", reload);
inbox.lifecycle.on("joined", ({ recovered }) => void (recovered || reload()));

if (list) {
  showTimes(list.querySelectorAll("time"));
  showStatus(live);
}
document.getElementById("read-all")?.addEventListener("submit", (event) => {
  event.preventDefault(); // carried out once, also if the connection is away just now
  void inbox.call("read", { up_to: Math.max(...unread) });
});
count();

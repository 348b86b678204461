// The list of rooms: what was said last, and how much is unread. It listens to one topic of its reader's, and joins no room.

import { connect } from "holdfast";

import { showTimes } from "../harbor/dates.js";

/** @type {any} */
const list = document.getElementById("rooms");
/** @type {import("topics").MyRooms["name"]} */
const name = list.dataset.topic;
const topic = connect().topic(name); // from the position that the list was rendered at
const { me } = list.dataset;
const open = list.querySelector("[aria-current]")?.dataset.room;

const linkOf = (room) => list.querySelector(`[data-room="${CSS.escape(room)}"]`);

function show(link, unread) {
  const badge = link.querySelector(".badge");
  badge.dataset.unread = String(unread);
  badge.hidden = unread === 0;
  badge.textContent = unread > 99 ? "99+" : String(unread);
  badge.setAttribute("aria-label", `${unread} unread`);
}

/** The reader has seen the messages of the open room up to this one. */
export function read(id) {
  topic.send("read", { room: open, up_to: id });
}

showTimes(document.querySelectorAll(".found time"));
topic.on("room.news", ({ room, author, body, id }) => {
  const link = linkOf(room);
  if (!link) return location.reload(); // a room that the reader has become a member of
  link.querySelector(".room-last").textContent = `${author}: ${body}`;
  link.dataset.last = String(id);
  if (author !== me && room !== open) show(link, Number(link.querySelector(".badge").dataset.unread) + 1);
});
topic.on("room.read", ({ room, up_to }) => {
  const link = linkOf(room);
  if (link && up_to >= Number(link.dataset.last)) show(link, 0);
});
topic.lifecycle.on("reset", () => location.reload());
topic.lifecycle.on("joined", ({ recovered }) => void (recovered || location.reload()));

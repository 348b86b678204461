// The list of messages on the page: in the order of their ids, grouped by author and day, each of them once.
// What people wrote is only ever set as text.

import { inFull, nameOfDay, sameDay, timeOf } from "../harbor/dates.js";

const GROUP_MINUTES = 10;
const LINK = /(https?:\/\/[^\s<>"]*[^\s<>".,;:!?'\])}])/;

export class MessageList {
  #list;
  #template;
  #me;
  #flags;
  #elements = new Map(); // id → element

  /** Takes over the messages that the server has rendered into `list`; `me` is the reader's name. */
  constructor(list, { template, me }) {
    this.#list = list;
    this.#template = template;
    this.#me = me;
    this.#flags = template.content.querySelector(".flag use").getAttribute("href").split("#")[0];
    for (const element of list.querySelectorAll(".message")) {
      this.#elements.set(Number(element.dataset.id), element);
      this.#date(element);
    }
    for (const element of this.#elements.values()) settle(element);
  }

  get size() {
    return this.#elements.size;
  }

  has(id) {
    return this.#elements.has(id);
  }

  /** The id of the oldest message here, or null. */
  get oldest() {
    const first = this.#list.querySelector(".message[data-id]");
    return first && Number(first.dataset.id);
  }

  /** Show a message in its place. Returns its element, or null if it is here already. */
  add({ id, author, body, at }) {
    if (this.#elements.has(id)) return null;
    const element = this.#make(author, body, new Date(at));
    element.dataset.id = String(id);
    this.#elements.set(id, element);
    const next = this.#firstAfter(id);
    this.#list.insertBefore(element, next);
    settle(element);
    if (next) settle(next);
    return element;
  }

  /** Say above a message that the ones from here on came while the reader was away. */
  divide(element, text) {
    for (const old of this.#list.querySelectorAll(".gap")) old.remove();
    const gap = Object.assign(document.createElement("p"), { className: "gap", textContent: text });
    element.prepend(gap);
  }

  /** The id of the newest message here, or 0. */
  get newest() {
    return Math.max(0, ...this.#elements.keys());
  }

  /** Show what is not a message yet, at the end. Returns its element. */
  addPending({ author, body, at }) {
    const element = this.#make(author, body, at);
    element.classList.add("pending");
    this.#list.append(element);
    settle(element);
    return element;
  }

  /** Take an element that `addPending` returned away again. */
  removePending(element) {
    const next = neighbour(element, "nextElementSibling");
    const separator = element.previousElementSibling;
    element.remove();
    if (next) settle(next);
    else if (separator?.classList.contains("day")) separator.remove();
  }

  /** The id of the message that has `count - 1` newer ones here, or null. */
  fromEnd(count) {
    return [...this.#elements.keys()].sort((one, other) => other - one)[count - 1] ?? null;
  }

  /** Take the messages with ids below this one off the page. Returns how many they were. */
  forgetBefore(id) {
    const old = [...this.#elements].filter(([each]) => each < id);
    for (const [each, element] of old) {
      this.#elements.delete(each);
      element.remove();
    }
    for (const separator of this.#list.querySelectorAll(".day")) {
      if (!separator.nextElementSibling?.classList.contains("message")) separator.remove();
    }
    const first = this.#list.querySelector(".message");
    if (first) settle(first);
    return old.length;
  }

  #make(author, body, at) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    element.dataset.author = author;
    element.classList.toggle("mine", author === this.#me);
    element.dataset.at = at.toISOString();
    element.querySelector(".author").textContent = author;
    element.querySelector(".body").append(...linked(body));
    const letter = author.charAt(0).toLowerCase();
    const flag = letter >= "a" && letter <= "z" ? letter : "none";
    element.querySelector(".flag use").setAttribute("href", `${this.#flags}#${flag}`);
    this.#date(element);
    return element;
  }

  #date(element) {
    const at = new Date(element.dataset.at);
    const time = element.querySelector("time");
    time.dateTime = element.dataset.at;
    time.textContent = timeOf(at);
    time.title = inFull(at);
  }

  /** The element before which a message with this id belongs; null for the end. */
  #firstAfter(id) {
    // From the end, for that is where nearly every message belongs.
    let after = this.#list.querySelector(".pending");
    for (let each = after?.previousElementSibling ?? this.#list.lastElementChild; each; each = each.previousElementSibling) {
      if (each.dataset.id === undefined) continue;
      if (Number(each.dataset.id) < id) return after;
      after = each;
    }
    return after;
  }
}

// ── grouping ─────────────────────────────────────────────────────────────────────────────────────
// What the place of a message in the list asks for: the name of the day above the first one of a day, and its author's name and
// flag unless they wrote the one before a moment ago. The server groups what it renders in the same way (history.py).

/** The next message in a direction, "previousElementSibling" or "nextElementSibling"; null at the end. */
function neighbour(element, direction) {
  let each = element[direction];
  while (each && !each.classList.contains("message")) each = each[direction];
  return each;
}

/** Group a message that is new in its place, or that has got another one above it. */
function settle(element) {
  const at = new Date(element.dataset.at);
  const before = neighbour(element, "previousElementSibling");
  const beforeAt = before && new Date(before.dataset.at);
  const newDay = !before || !sameDay(beforeAt, at);
  const above = element.previousElementSibling;
  const separator = above?.classList.contains("day") ? above : null;
  if (newDay) nameDay(separator ?? separatorAbove(element), at);
  else separator?.remove();
  const soon = before && (at.getTime() - beforeAt.getTime()) / 60_000 < GROUP_MINUTES;
  element.classList.toggle("continued", !newDay && soon && before.dataset.author === element.dataset.author);
}

function separatorAbove(element) {
  const separator = document.createElement("li");
  separator.className = "day";
  separator.append(document.createElement("time"));
  element.before(separator);
  return separator;
}

function nameDay(separator, date) {
  separator.dataset.at = date.toISOString();
  // All of them again: after midnight yesterday's "Today" would be wrong.
  for (const each of separator.parentElement.querySelectorAll(".day[data-at]")) {
    each.firstElementChild.textContent = nameOfDay(new Date(each.dataset.at));
  }
}

/**
 * The text's parts, to be put into an element. Web addresses become links, all else stays text. The same rule is in
 * templatetags/chat_text.py.
 */
function linked(body) {
  return body.split(LINK).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = document.createElement("a");
    return Object.assign(link, { href: part, textContent: part, rel: "nofollow noopener", target: "_blank" });
  });
}

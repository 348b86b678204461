// The list of messages on the page: in the order of their ids, grouped by author and day, each of them once.
// What people wrote is only ever set as text.

import { inFull, timeOf } from "../harbor/dates.js";
import { neighbour, settle } from "./grouping.js";
import { linked } from "./links.js";

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

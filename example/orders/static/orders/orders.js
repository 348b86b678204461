// @ts-check
// A list of orders that stays true: the customer's own, and the one behind the counter.

import { connect } from "holdfast";

import { showStatus } from "../harbor/status.js";

const MOST = 30; // on the page; the oldest goes when a new one comes

const list = /** @type {HTMLElement} */ (document.getElementById("orders"));
const template = /** @type {HTMLTemplateElement} */ (document.getElementById("order-template"));
const live = connect();
const topic = live.topic(/** @type {import("topics").Counter["name"]} */ (list.dataset.topic)); // or MyOrders; from the position that the page was rendered at

/** @typedef {{ id: number, product: string, customer: string, state: string }} Order */

/** @param {Order} order */
function show(order) {
  const item = document.getElementById(`order-${order.id}`) ?? added(order);
  if (item.dataset.state !== order.state) item.classList.add("changed");
  item.dataset.state = order.state;
  mark(item);
}

/** @param {Order} order */
function added({ id, product, customer }) {
  const item = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  item.id = `order-${id}`;
  item.dataset.id = String(id);
  put(item, "b", product);
  put(item, ".order-number", `No. ${id}`);
  put(item, ".order-who", customer);
  list.prepend(item);
  while (list.children.length > MOST) list.lastElementChild?.remove();
  document.getElementById("none")?.setAttribute("hidden", "");
  return item;
}

/** The word for where an order is, and its step for screen readers; the colours follow from `data-state`. @param {HTMLElement} item */
function mark(item) {
  const state = item.dataset.state ?? "";
  const steps = /** @type {HTMLElement[]} */ ([...item.querySelectorAll("[data-step]")]);
  for (const step of steps) {
    if (step.dataset.step === state) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
  put(item, ".order-state", state[0].toUpperCase() + state.slice(1));
}

/** @param {HTMLElement} item @param {string} selector @param {string} text */
function put(item, selector, text) {
  const element = item.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}

/** Something may have been missed, and the stream says so. */
const reload = () => location.reload();

topic.on("order.changed", show);
topic.lifecycle.on("reset", reload);
topic.lifecycle.on("joined", ({ recovered }) => void (recovered || reload()));
topic.lifecycle.on("refused", reload);

list.addEventListener("click", async ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const item = /** @type {HTMLElement} */ (target.closest(".order"));
  target.disabled = true;
  try {
    await topic.call("advance", { order: Number(item.dataset.id) }); // the page changes by the event that follows
  } finally {
    target.disabled = false;
  }
});

for (const item of list.children) mark(/** @type {HTMLElement} */ (item));
showStatus(live);

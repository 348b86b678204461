// What the place of a message in the list asks for: the name of the day above the first one of a day, and its author's name and
// flag unless they wrote the one before a moment ago. The server groups what it renders in the same way (history.py).

import { nameOfDay, sameDay } from "../harbor/dates.js";

const GROUP_MINUTES = 10;

/** The next message in a direction, "previousElementSibling" or "nextElementSibling"; null at the end. */
export function neighbour(element, direction) {
  let each = element[direction];
  while (each && !each.classList.contains("message")) each = each[direction];
  return each;
}

/** Group a message that is new in its place, or that has got another one above it. */
export function settle(element) {
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

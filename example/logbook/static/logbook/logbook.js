// @ts-check
// Comments come alive without this: <live-topic> puts what the server renders in its place. Here is only what is the reader's own.

import { connect } from "holdfast";

import { showTimes } from "../harbor/dates.js";
import { showStatus } from "../harbor/status.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("write"));

/** A fragment is rendered once for all readers, so it knows neither whose page it comes to nor that reader's clock. */
function markOwn() {
  const own = `[data-author="${CSS.escape(form.dataset.me ?? "")}"]`;
  for (const comment of document.querySelectorAll(own)) comment.classList.add("mine");
  showTimes(document.querySelectorAll(".comment time"));
}

document.addEventListener("live-topic:event", markOwn);
markOwn();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") form.reset(); // it was saved, and comes by the topic
  else form.submit(); // as without JavaScript, with what the server has to say about it
});

showStatus(connect());

// What the reader writes: in the composer first, and in the outbox until the server has confirmed it.

const WARN = 200; // characters left
const REASONS = {
  empty: "There is nothing in it.",
  forbidden: "You are not in this room any more.",
  invalid_payload: "It is too long or empty.",
  outcome_unknown: "It may have been sent. Look before you send it again.",
  refused: "It was refused.",
  timeout: "The server did not answer. Look before you send it again.",
  user_changed: "You are signed in as another user now.",
};

/** Where messages are written. A draft survives a reload of the page. */
export class Composer {
  #form;
  #field;
  #left;
  #key;

  constructor(form, { room, send, typed }) {
    this.#form = form;
    this.#field = form.elements.body;
    this.#left = form.querySelector(".left");
    this.#key = `draft ${room}`;
    this.#field.value = sessionStorage.getItem(this.#key) ?? this.#field.value;
    this.#field.addEventListener("input", () => {
      this.#changed();
      if (this.#field.value.trim()) typed();
    });
    this.#field.addEventListener("keydown", (event) => {
      // Enter also confirms what an input method has composed, and that is not sending.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const body = this.#field.value.trim();
      this.#field.focus();
      if (!body) return;
      this.#field.value = "";
      this.#changed();
      send(body);
    });
    this.#changed();
  }

  #changed() {
    const { value, maxLength } = this.#field;
    if (value) sessionStorage.setItem(this.#key, value);
    else sessionStorage.removeItem(this.#key);
    const left = maxLength - value.length;
    this.#left.hidden = left > WARN;
    this.#left.textContent = `${left} left`;
    this.#form.classList.toggle("ready", value.trim() !== "");
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

/**
 * What was written and the server has not confirmed yet. The queue keeps it in the browser's storage, sends it in the order in which
 * it was written, and hands it to the next page when this one is closed or reloaded.
 */
export class Outbox {
  #call;
  #list;
  #me;
  #template;
  #waiting = []; // in the order in which they are sent
  #acknowledged = new Map(); // id → item whose event is still on its way

  /** `call(body)` posts and resolves to the message's id. */
  constructor({ call, list, me, template }) {
    this.#call = call;
    this.#list = list;
    this.#me = me;
    this.#template = template;
  }

  /** Is anything here that closing the page would lose? */
  get empty() {
    return !document.querySelector(".pending.failed");
  }

  send(body) {
    const item = this.#show(body, new Date());
    void this.#follow(item, this.#call(body));
  }

  /** A message that an earlier page has left; `result` is the promise of its id. */
  restore(body, at, result) {
    void this.#follow(this.#show(body, at), result);
  }

  /** A message is about to be shown: the pending one that it is the confirmation of goes. */
  arrived({ id, author, body }) {
    const acknowledged = this.#acknowledged.get(id);
    const [current] = this.#waiting;
    if (acknowledged) {
      this.#acknowledged.delete(id);
      this.#list.removePending(acknowledged.element);
    } else if (author === this.#me && current?.seen === null && current.body === body) {
      // The event is here before the answer, as it mostly is. Should the answer name another message (I have said
      // the same in two windows), that one is shown when its own event comes.
      current.seen = id;
      this.#list.removePending(current.element);
    }
  }

  /** Tell what waits that it does, or that it is under way again. */
  set online(online) {
    this.#online = online;
    for (const item of this.#waiting) this.#label(item, this.#progress);
  }
  #online = true;

  get #progress() {
    return this.#online ? "Sending" : "Waiting for the connection";
  }

  #show(body, at) {
    const element = this.#list.addPending({ author: this.#me, body, at });
    element.querySelector(".said").append(this.#template.content.cloneNode(true));
    const item = { body, element, seen: null };
    element.querySelector(".retry").addEventListener("click", () => void this.#follow(item, this.#call(body)));
    element.querySelector(".discard").addEventListener("click", () => this.#list.removePending(element));
    return item;
  }

  async #follow(item, result) {
    item.element.classList.remove("failed");
    this.#buttons(item, false);
    this.#label(item, this.#progress);
    this.#waiting.push(item);
    try {
      const id = await result;
      if (item.seen !== null) return;
      if (this.#list.has(id)) this.#list.removePending(item.element);
      else this.#acknowledged.set(id, item);
    } catch (error) {
      if (item.seen === null) this.#fail(item, error);
    } finally {
      this.#waiting.splice(this.#waiting.indexOf(item), 1);
    }
  }

  #fail(item, error) {
    item.element.classList.add("failed");
    this.#label(item, `Not sent. ${REASONS[error?.reason] ?? REASONS[error?.code] ?? "Something went wrong."}`);
    this.#buttons(item, true);
  }

  #label(item, text) {
    item.element.querySelector(".state-text").textContent = text;
  }

  #buttons(item, shown) {
    for (const button of item.element.querySelectorAll(".state button")) button.hidden = !shown;
  }
}

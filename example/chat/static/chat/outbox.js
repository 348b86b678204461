// What I wrote and the server has not confirmed yet, sent one after the other, so that it arrives in the order in
// which it was written.

const REASONS = {
  empty: "There is nothing in it.",
  forbidden: "You are not in this room any more.",
  invalid_payload: "It is too long or empty.",
  outcome_unknown: "It may have been sent. Look before you send it again.",
  refused: "It was refused.",
  timeout: "The server did not answer. Look before you send it again.",
  unauthenticated: "You are signed out. Sign in again in another tab.",
};

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export class Outbox {
  #call;
  #list;
  #me;
  #template;
  #queue = [];
  #current = null;
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
    return !this.#current && this.#queue.length === 0 && !document.querySelector(".pending.failed");
  }

  send(body) {
    const element = this.#list.addPending({ author: this.#me, body, at: new Date() });
    element.querySelector(".said").append(this.#template.content.cloneNode(true));
    const item = { body, element, seen: null };
    element.querySelector(".retry").addEventListener("click", () => this.#enqueue(item));
    element.querySelector(".discard").addEventListener("click", () => this.#list.removePending(element));
    this.#enqueue(item);
  }

  /** A message is about to be shown: the pending one that it is the confirmation of goes. */
  arrived({ id, author, body }) {
    const acknowledged = this.#acknowledged.get(id);
    if (acknowledged) {
      this.#acknowledged.delete(id);
      this.#list.removePending(acknowledged.element);
    } else if (author === this.#me && this.#current?.seen === null && this.#current.body === body) {
      // The event is here before the answer, as it mostly is. Should the answer name another message (I have said
      // the same in two windows), that one is shown when its own event comes.
      this.#current.seen = id;
      this.#list.removePending(this.#current.element);
    }
  }

  /** Tell what waits that it does, or that it is under way again. */
  set online(online) {
    for (const item of [this.#current, ...this.#queue]) {
      if (item) this.#label(item, online ? "Sending" : "Waiting for the connection");
    }
    this.#online = online;
  }
  #online = true;

  #enqueue(item) {
    item.element.classList.remove("failed");
    this.#buttons(item, false);
    this.#label(item, this.#online ? "Sending" : "Waiting for the connection");
    this.#queue.push(item);
    if (!this.#current) void this.#drain();
  }

  async #drain() {
    while ((this.#current = this.#queue.shift() ?? null)) {
      const item = this.#current;
      try {
        const id = await this.#patiently(item.body);
        if (item.seen !== null) continue;
        if (this.#list.has(id)) this.#list.removePending(item.element);
        else this.#acknowledged.set(id, item);
      } catch (error) {
        if (item.seen === null) this.#fail(item, error);
      }
    }
  }

  async #patiently(body) {
    for (;;) {
      try {
        return await this.#call(body);
      } catch (error) {
        if (error?.code !== "rate_limited" && error?.code !== "too_many_calls") throw error;
        await wait(error.retryAfter ?? 1);
      }
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

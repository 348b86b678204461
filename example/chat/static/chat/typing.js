// Who is writing: telling the others, and showing what they tell.

const TELL_EVERY = 3_000;
const FORGET_AFTER = 5_000;

export class Typing {
  #element;
  #tell;
  #timers = new Map(); // author → timer
  #told = -Infinity;

  constructor(element, tell) {
    this.#element = element;
    this.#tell = tell;
  }

  /** The reader is writing. */
  typed() {
    const now = performance.now();
    if (now - this.#told < TELL_EVERY) return;
    this.#told = now;
    this.#tell();
  }

  /** What was written has been sent: the next letter is news again. */
  sent() {
    this.#told = -Infinity;
  }

  heardOf(author) {
    clearTimeout(this.#timers.get(author));
    this.#timers.set(author, setTimeout(() => this.stopped(author), FORGET_AFTER));
    this.#show();
  }

  stopped(author) {
    clearTimeout(this.#timers.get(author));
    if (this.#timers.delete(author)) this.#show();
  }

  /** Nothing is known any more: the connection is gone. */
  clear() {
    for (const author of [...this.#timers.keys()]) this.stopped(author);
  }

  #show() {
    const names = [...this.#timers.keys()];
    this.#element.textContent =
      names.length === 0 ? ""
      : names.length === 1 ? `${names[0]} is typing…`
      : names.length === 2 ? `${names[0]} and ${names[1]} are typing…`
      : "Several people are typing…";
    this.#element.classList.toggle("shown", names.length > 0);
  }
}

// Who is in the room, and who is writing.

const MOST_FLAGS = 4;

/** Some flags and a number in the head of the room, and all the names on demand. */
export class Here {
  #button;
  #flags;
  #count;
  #list;
  #pattern; // a flag, to be copied
  #me;

  constructor(button, panel, { template, me }) {
    this.#button = button;
    this.#flags = button.querySelector(".here-flags");
    this.#count = button.querySelector(".here-count");
    this.#list = panel.querySelector("ul");
    this.#pattern = template.content.querySelector(".flag");
    this.#me = me;
    panel.addEventListener("toggle", () => this.#place(panel));
  }

  /** `members` as the client tells them; `count` is more when there are too many to be listed. */
  show(members, count) {
    const names = members.map(({ meta }) => meta.name).sort((one, other) => this.#order(one, other));
    this.#button.hidden = !count;
    this.#button.disabled = names.length === 0;
    this.#flags.replaceChildren(...names.slice(0, MOST_FLAGS).map((name) => this.#flag(name)));
    this.#count.textContent = `${count ?? 0}`;
    this.#button.setAttribute("aria-label", `Who is here: ${count} ${count === 1 ? "person" : "people"}`);
    this.#list.replaceChildren(...names.map((name) => this.#entry(name)));
  }

  /** Mark the list as possibly out of date: the server sends no changes at the moment. */
  stale(yes) {
    this.#button.classList.toggle("stale", yes);
  }

  #order(one, other) {
    return Number(other === this.#me) - Number(one === this.#me) || one.localeCompare(other);
  }

  #flag(name) {
    const flag = this.#pattern.cloneNode(true);
    const use = flag.querySelector("use");
    const letter = name[0].toLowerCase();
    const sheet = use.getAttribute("href").split("#")[0];
    use.setAttribute("href", `${sheet}#${letter >= "a" && letter <= "z" ? letter : "none"}`);
    return flag;
  }

  #entry(name) {
    const entry = document.createElement("li");
    const text = document.createElement("span");
    text.textContent = name === this.#me ? `${name} (you)` : name;
    entry.append(this.#flag(name), text);
    return entry;
  }

  #place(panel) {
    const { bottom, right } = this.#button.getBoundingClientRect();
    panel.style.top = `${bottom + 8}px`;
    panel.style.right = `${Math.max(8, document.documentElement.clientWidth - right)}px`;
  }
}

// --8<-- [start:typing]
const TELL_EVERY = 3_000;
const FORGET_AFTER = 5_000;

/** Tells the others that the reader is writing, and shows who else is. */
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
// --8<-- [end:typing]

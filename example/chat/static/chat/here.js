// Who is in the room: some flags and a number in the head of it, and all the names on demand.

const MOST_FLAGS = 4;

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

// Where messages are written. A draft survives a reload of the page.

const WARN = 200; // characters left

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

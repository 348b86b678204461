// Keeps the end of the conversation in sight while the reader is there, and leaves readers of older messages alone.

const CLOSE = 48; // this near to the end counts as there

export class Scrolling {
  #log;
  #jump;
  #text;
  #title = document.title;
  #unread = 0;
  following = true;

  constructor(log, jump) {
    this.#log = log;
    this.#jump = jump;
    this.#text = jump.querySelector(".jump-text");
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd({ smooth: true }));
    document.addEventListener("visibilitychange", () => this.#scrolled());
    // The keyboard of a phone, a longer draft, a turned screen: the end stays in sight.
    new ResizeObserver(() => this.following && this.toEnd()).observe(log);
  }

  /** The list has grown at its end. `mine`: by something that the reader has just written. */
  grown({ mine, unread = 1 } = { mine: false }) {
    if (mine || this.following) this.toEnd();
    if (!mine && (!this.following || document.hidden)) {
      this.#unread += unread;
      this.#show();
    }
  }

  toEnd({ smooth = false } = {}) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#log.scrollTo({ top: this.#log.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
  }

  /** Run `change`, which adds at the top or takes away there, with what is in sight staying where it is. */
  keeping(change) {
    const below = this.#log.scrollHeight - this.#log.scrollTop;
    change();
    this.#log.scrollTop = this.#log.scrollHeight - below;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.following = scrollHeight - scrollTop - clientHeight < CLOSE;
    if (this.following && !document.hidden) this.#unread = 0;
    this.#show();
  }

  #show() {
    this.#jump.hidden = this.following;
    this.#text.textContent =
      this.#unread === 0 ? "Latest" : this.#unread === 1 ? "1 new message" : `${this.#unread} new messages`;
    this.#jump.classList.toggle("unread", this.#unread > 0);
    document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }
}

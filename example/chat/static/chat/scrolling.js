// Where the reader is in the conversation: at its end, which stays in sight, or at older messages, which stay where they are, and
// more of which are fetched when the reader comes near the top.

const CLOSE = 48; // this near to the end counts as there

/** Keeps the end of the conversation in sight while the reader is there, and leaves readers of older messages alone. */
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

/** Fetches older messages when the reader comes near the top. */
export class History {
  #url;
  #log;
  #button;
  #text;
  #beginning;
  #more;
  #loading = false;
  #oldest;
  #show;
  #observer;

  /**
   * `oldest()` is the id of the oldest message on the page; `show(messages)` adds some that are older.
   */
  constructor({ url, log, place, beginning, oldest, show }) {
    this.#url = url;
    this.#log = log;
    this.#button = place.querySelector("button");
    this.#text = place.querySelector(".older-text");
    this.#beginning = beginning;
    this.#more = place.dataset.more === "true";
    this.#oldest = oldest;
    this.#show = show;
    this.#button.addEventListener("click", () => void this.#load());
    this.#observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && void this.#load(),
      { root: log, rootMargin: "600px 0px 0px 0px" },
    );
    this.#observer.observe(place);
    this.#place = place;
  }
  #place;

  /** There are older messages again, because the page has forgotten some. */
  forgotten() {
    this.#more = true;
    this.#say("");
  }

  /** The newest messages, as the server has them now. */
  async newest() {
    return (await this.#fetch()).messages;
  }

  async #load() {
    if (this.#loading || !this.#more) return;
    const before = this.#oldest();
    if (before === null) return;
    this.#loading = true;
    this.#say("Fetching older messages");
    this.#log.ariaBusy = "true"; // old messages are not news to be read out
    try {
      const page = await this.#fetch(before);
      if (before !== this.#oldest()) return; // the page was trimmed or started over in between
      this.#more = page.more;
      this.#say(this.#more ? "" : this.#beginning);
      this.#show(page.messages);
      // It tells changes only, and the place may still be in sight.
      this.#observer.unobserve(this.#place);
      this.#observer.observe(this.#place);
    } catch {
      this.#say("Older messages could not be fetched.", { retry: true });
    } finally {
      this.#loading = false;
      requestAnimationFrame(() => (this.#log.ariaBusy = "false"));
    }
  }

  async #fetch(before) {
    const url = new URL(this.#url, location.href);
    if (before !== undefined) url.searchParams.set("before", before);
    const response = await fetch(url, { headers: { Accept: "application/json" }, redirect: "error" });
    if (!response.ok) throw new Error(`${url.pathname}: ${response.status}`);
    return response.json();
  }

  #say(text, { retry = false } = {}) {
    this.#text.textContent = text;
    this.#button.hidden = !retry;
  }
}

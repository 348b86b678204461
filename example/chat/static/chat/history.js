// Older messages, fetched when the reader comes near the top.

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

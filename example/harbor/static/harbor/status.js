// How the connection is doing: in a word in the head of the page and, when it matters, in a sentence of its own.

const ENDINGS = {
  unauthenticated: "You are signed out.",
  disconnected: "You are signed out.",
  unsupported_protocol: "This page is older than the server.",
};

export class Status {
  #element;
  #text;
  #count; // apart, because a screen reader that said every second would be no help
  #notice;
  #sentence;
  #button;
  #reconnect;
  #waits; // what happens to what the reader does while the connection is away
  #interrupted = false;
  #gone = false;
  #countdown;

  constructor(element, notice, { reconnect, waits = "The page catches up when it is back." }) {
    this.#element = element;
    this.#waits = waits;
    this.#text = element.querySelector(".status-text");
    this.#count = element.querySelector(".status-count");
    this.#notice = notice;
    this.#sentence = notice.querySelector(".notice-text");
    this.#button = notice.querySelector("button");
    this.#reconnect = reconnect;
    this.#button.addEventListener("click", () => {
      if (this.#element.dataset.status === "closed") location.reload();
      else this.#reconnect();
    });
    addEventListener("offline", () => this.#element.dataset.status === "waiting" && this.show("waiting"));
  }

  /** `status` is the client's; `retryAt` the time of the next attempt, `error` why the last connection ended. */
  show(status, { retryAt, error } = {}) {
    if (this.#gone) return;
    clearInterval(this.#countdown);
    this.#element.dataset.status = status;
    this.#count.textContent = "";
    if (status === "online") {
      this.#interrupted = false;
      this.#say("Online");
    } else if (status === "waiting") {
      this.#interrupted = true;
      this.#wait(retryAt);
    } else if (status === "closed") {
      this.#say("Offline", `${ENDINGS[error?.code] ?? "The server has ended the connection."}`, "Reload");
    } else {
      this.#say("Connecting", this.#interrupted ? `Connecting again. ${this.#waits}` : "");
    }
  }

  /** The room itself is over for this reader. */
  gone(sentence) {
    clearInterval(this.#countdown);
    this.#gone = true;
    this.#element.dataset.status = "closed";
    this.#count.textContent = "";
    this.#say("Ended", sentence);
  }

  #wait(retryAt) {
    if (!navigator.onLine) {
      this.#say("Offline", `You are offline. ${this.#waits}`);
      return;
    }
    this.#say("Reconnecting", `The connection is gone. ${this.#waits}`, "Try now");
    if (retryAt === undefined) return;
    const tick = () => {
      this.#count.textContent = ` in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s`;
    };
    tick();
    this.#countdown = setInterval(tick, 250);
  }

  #say(word, sentence = "", button = "") {
    this.#text.textContent = word;
    this.#sentence.textContent = sentence;
    this.#notice.hidden = !sentence;
    this.#button.textContent = button;
    this.#button.hidden = !button;
  }
}

/** The status of `live` in the page's own elements: templates/harbor/_status.html and _notice.html. */
export function showStatus(live, waits) {
  const $ = (id) => document.getElementById(id);
  const status = new Status($("status"), $("notice"), { reconnect: () => live.reconnect(), waits });
  live.on("status", (now, detail) => status.show(now, detail));
  status.show(live.status);
  return status;
}

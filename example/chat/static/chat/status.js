// How the connection is doing, said in a word in the head of the room and, when it matters, in a sentence.

export class Status {
  #element;
  #text;
  #count; // apart, because a screen reader that said every second would be no help
  #notice;
  #noticeText;
  #countdown = null;

  constructor(element, notice, { retry }) {
    this.#element = element;
    this.#text = element.querySelector(".status-text");
    this.#count = element.querySelector(".status-count");
    this.#notice = notice;
    this.#noticeText = notice.querySelector(".notice-text");
    notice.querySelector("button").addEventListener("click", retry);
  }

  /** `status` is the client's: connecting, online, waiting or closed. */
  show(status, { seconds = null, final = "" } = {}) {
    clearInterval(this.#countdown);
    this.#element.dataset.status = status;
    this.#count.textContent = "";
    this.#notice.hidden = status === "online" || (status === "connecting" && !this.#wasOnline);
    this.#notice.querySelector("button").hidden = status !== "waiting";
    if (status === "online") {
      this.#wasOnline = true;
      this.#text.textContent = "Online";
    } else if (status === "connecting") {
      this.#text.textContent = "Connecting";
      this.#noticeText.textContent = "Connecting again. What you write waits and is sent then.";
    } else if (status === "waiting") {
      this.#wait(seconds);
    } else {
      this.#text.textContent = "Offline";
      this.#noticeText.textContent = final || "The connection has ended. Reload the page to come back.";
    }
  }
  #wasOnline = false;

  #wait(seconds) {
    this.#wasOnline = true; // from here on connecting is worth a sentence
    if (!navigator.onLine) {
      this.#text.textContent = "Offline";
      this.#noticeText.textContent = "You are offline. What you write waits and is sent when you are back.";
      return;
    }
    this.#text.textContent = "Reconnecting";
    this.#noticeText.textContent = "The connection is gone. What you write waits and is sent when it is back.";
    const until = performance.now() + (seconds ?? 0) * 1000;
    const tick = () => {
      const left = Math.max(1, Math.ceil((until - performance.now()) / 1000));
      this.#count.textContent = ` in ${left} s`;
    };
    tick();
    this.#countdown = setInterval(tick, 250);
  }
}

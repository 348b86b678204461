import type { Channel } from "./browser.js";
import type { GroupListener } from "./group.js";
import type { HubMessage } from "./messages.js";

/** How the shared connection reaches one tab. */
export interface Port {
  /** Returns false if the tab reads too slowly and has been cut off. */
  said(text: string): boolean;
  over(code: number, reason: string): void;
  aside(reason: string): void;
}

/** The leader's own tab. What it hears comes a moment later, because it may be in the middle of saying something. */
export function localPort(listener: GroupListener): Port {
  return {
    said: (text) => {
      queueMicrotask(() => {
        listener.received(text);
      });
      return true;
    },
    over: (code, reason) => {
      queueMicrotask(() => {
        listener.closed(code, reason);
      });
    },
    aside: (reason) => {
      queueMicrotask(() => {
        listener.aside(reason);
      });
    },
  };
}

/** A tab that has more than this unread is cut off: it comes back, and goes on from its positions. */
const MOST = { characters: 4_000_000, messages: 4_000 };

/** Another tab. What it has not read yet waits in the browser, and is bounded. */
export class RemotePort implements Port {
  readonly #hub: string;
  readonly #channel: Channel;
  #characters = 0;
  #messages = 0;
  #over = false;

  constructor(hub: string, channel: Channel) {
    this.#hub = hub;
    this.#channel = channel;
  }

  said(text: string): boolean {
    if (this.#over) return false;
    if (this.#characters > MOST.characters || this.#messages > MOST.messages) {
      this.over(1006, "the tab reads too slowly");
      return false;
    }
    this.#characters += text.length;
    this.#messages++;
    this.#post({ hub: this.#hub, type: "said", text });
    return true;
  }

  read(characters: number, messages: number): void {
    this.#characters -= characters;
    this.#messages -= messages;
  }

  attached(client: string): void {
    this.#post({ hub: this.#hub, type: "attached", client });
  }

  alive(): void {
    this.#post({ hub: this.#hub, type: "alive" });
  }

  over(code: number, reason: string): void {
    this.#post({ hub: this.#hub, type: "over", code, reason });
    this.close();
  }

  aside(reason: string): void {
    this.#post({ hub: this.#hub, type: "aside", reason });
    this.close();
  }

  close(): void {
    if (!this.#over) this.#channel.close();
    this.#over = true;
  }

  #post(message: HubMessage): void {
    if (!this.#over) this.#channel.post(message);
  }
}

import { Heartbeat } from "../heartbeat.js";
import type { Channel } from "./browser.js";
import type { GroupListener, GroupSettings, Part } from "./group.js";
import { named, type HubMessage, type TabMessage } from "./messages.js";

/** Seconds from one question to the leader to the next, while it says nothing. It has ten seconds to answer. */
const ASK = 10;

/** What was read is acknowledged in parts as large as this. */
const PART = { characters: 100_000, messages: 100 };

/** A tab that uses the connection of another one. */
export class Follower implements Part {
  readonly #id: string;
  readonly #leader: string;
  readonly #listener: GroupListener;
  readonly #channel: Channel;
  readonly #heartbeat: Heartbeat;
  readonly #read = { characters: 0, messages: 0 };

  /** `ended` closes this tab's part in the group. `lost` does so too, and lets the client come back. */
  constructor(id: string, leader: string, settings: GroupSettings, listener: GroupListener, lost: (reason: string) => void) {
    this.#id = id;
    this.#leader = leader;
    this.#listener = listener;
    this.#channel = settings.browser.channel(named(settings.group, "leader", leader), () => undefined);
    this.#heartbeat = new Heartbeat(settings.clock, ASK, {
      ping: () => {
        this.#post({ from: id, type: "ask" });
      },
      dead: () => {
        lost("the tab that holds the connection does not answer");
      },
    });
    settings.tell("shares the connection of another tab");
  }

  /** Whether another tab has become the leader. */
  isBehind(leader: string): boolean {
    return leader !== this.#leader;
  }

  say(text: string): void {
    this.#post({ from: this.#id, type: "say", text });
  }

  close(): void {
    this.#heartbeat.stop();
    this.#post({ from: this.#id, type: "detach" });
    this.#channel.close();
  }

  /** A message of the leader. `ended` runs before the listener hears of an end. */
  heard(message: HubMessage, ended: () => void): void {
    if (message.hub !== this.#leader) return;
    this.#heartbeat.heard();
    if (message.type === "said") {
      this.#acknowledge(message.text);
      this.#listener.received(message.text);
    } else if (message.type === "over") {
      ended();
      this.#listener.closed(message.code, message.reason);
    } else if (message.type === "aside") {
      ended();
      this.#listener.aside(message.reason);
    }
  }

  #acknowledge(text: string): void {
    const read = this.#read;
    read.characters += text.length;
    read.messages++;
    if (read.characters < PART.characters && read.messages < PART.messages) return;
    this.#post({ from: this.#id, type: "read", ...read });
    read.characters = read.messages = 0;
  }

  #post(message: TabMessage): void {
    this.#channel.post(message);
  }
}

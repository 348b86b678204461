import type { Channel } from "./browser.js";
import type { GroupListener, GroupSettings, Part } from "./group.js";
import { Hub } from "./hub.js";
import { named, type GroupMessage, type TabMessage } from "./messages.js";
import { localPort, RemotePort } from "./port.js";
import type { Seat } from "./seat.js";

interface Follower {
  readonly seat: Seat;
  readonly port: RemotePort;
  /** Ends the wait for the end of the tab. */
  readonly gone: AbortController;
}

/** The tab that has the connection. */
export class Leader implements Part {
  readonly #id: string;
  readonly #settings: GroupSettings;
  readonly #hub: Hub;
  readonly #seat: Seat;
  readonly #inbox: Channel;
  readonly #followers = new Map<string, Follower>();

  /** `ended` runs when the connection has ended by itself; the tabs have heard of it then. */
  constructor(id: string, settings: GroupSettings, listener: GroupListener, common: Channel, ended: () => void) {
    this.#id = id;
    this.#settings = settings;
    const { browser, clock, group, url, tokens, tell, hello } = settings;
    this.#hub = new Hub({ clock, url, tokens, hello: hello() }, ended);
    this.#seat = this.#hub.seat(id, localPort(listener));
    this.#inbox = browser.channel(named(group, "leader", id), (message) => {
      this.#heard(message as TabMessage);
    });
    const message: GroupMessage = { type: "lead", hub: id };
    common.post(message);
    tell("this tab holds the connection");
    void this.#open(listener, ended);
  }

  say(text: string): void {
    this.#hub.said(this.#seat, text);
  }

  close(code: number, reason: string): void {
    this.#hub.close(code, reason);
    this.#inbox.close();
    for (const { gone, port } of this.#followers.values()) {
      gone.abort();
      port.close();
    }
    this.#followers.clear();
  }

  /** Another tab wants to share. */
  attach(from: string): void {
    if (this.#followers.has(from)) return;
    const { browser, group, client, tell } = this.#settings;
    const channel = browser.channel(named(group, "to", from), () => undefined);
    const port = new RemotePort(this.#id, channel);
    port.attached(client());
    const gone = new AbortController();
    this.#followers.set(from, { seat: this.#hub.seat(from, port), port, gone });
    tell(`${this.#followers.size + 1} tabs share the connection`);
    // The tab has this lock for as long as it lives.
    browser
      .lock(named(group, "alive", from), { signal: gone.signal }, () => {
        this.#detach(from);
      })
      .catch(() => undefined);
  }

  #detach(from: string): void {
    const follower = this.#followers.get(from);
    if (!follower) return;
    this.#followers.delete(from);
    this.#hub.drop(follower.seat);
    follower.gone.abort();
    follower.port.close();
    this.#settings.tell(`${this.#followers.size + 1} tabs share the connection`);
  }

  #heard(message: TabMessage): void {
    const follower = this.#followers.get(message.from);
    if (!follower) return;
    const { seat, port } = follower;
    seat.heardAt = this.#settings.clock.now();
    if (message.type === "say") this.#hub.said(seat, message.text);
    else if (message.type === "read") port.read(message.characters, message.messages);
    else if (message.type === "ask") port.alive();
    else this.#detach(message.from);
  }

  async #open(listener: GroupListener, ended: () => void): Promise<void> {
    try {
      const open = await this.#settings.open();
      this.#hub.open(open);
    } catch (error) {
      ended();
      listener.closed(1002, String(error));
    }
  }
}

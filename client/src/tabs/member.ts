import type { Cancel } from "../clock.js";
import type { Channel } from "./browser.js";
import { Follower } from "./follower.js";
import type { GroupListener, GroupSettings, Part } from "./group.js";
import { Leader } from "./leader.js";
import { named, type GroupMessage, type HubMessage } from "./messages.js";

/** Milliseconds that a tab waits for an answer of the leader, before it takes the lead away from it; and a random part more. */
const SEEK = { least: 2_000, random: 1_000 };

/**
 * One tab's part in a shared connection, from its first message to its end; it never comes back.
 *
 * The tab that has the lock of the group is the leader, and all others wait for that lock. A tab that gets it while it follows knows
 * that its leader is gone. It gives the lock back, and its client connects again: the first one to do so is the next leader.
 */
export class Member {
  readonly #id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  readonly #settings: GroupSettings;
  readonly #listener: GroupListener;
  readonly #stop = new AbortController();
  readonly #common: Channel;
  readonly #own: Channel;
  #cancelSeek: Cancel | undefined;
  #part: Part | undefined;

  constructor(settings: GroupSettings, listener: GroupListener) {
    this.#settings = settings;
    this.#listener = listener;
    const { browser, group } = settings;
    this.#common = browser.channel(group, (message) => {
      this.#heardOfGroup(message as GroupMessage);
    });
    this.#own = browser.channel(named(group, "to", this.#id), (message) => {
      this.#heard(message as HubMessage);
    });
    this.#watchPage();
    // By this lock the leader notices that a tab is gone, so it comes before the first word to the leader.
    this.#hold(named(group, "alive", this.#id), false, () => {
      this.#seek();
    });
  }

  /** Whether it has ended, in whichever way. */
  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  say(text: string): void {
    this.#part?.say(text);
  }

  close(code: number): void {
    this.#end(code, "the tab that held the connection has closed it");
  }

  #end(code: number, reason: string): void {
    if (this.over) return;
    this.#stop.abort();
    this.#cancelSeek?.();
    this.#part?.close(code, reason);
    this.#common.close();
    this.#own.close();
  }

  /** Close it as a connection that broke: the client comes back. */
  #lost(reason: string): void {
    if (this.over) return;
    this.#settings.tell(reason);
    this.#end(1000, reason);
    this.#listener.closed(1006, reason);
  }

  /** A page that the browser freezes, or keeps to show it again, answers no other tab. */
  #watchPage(): void {
    const { window, document } = this.#settings.page;
    const asleep = (): void => {
      this.#lost("the browser puts this tab to sleep");
    };
    const until = { signal: this.#stop.signal };
    window?.addEventListener?.("pagehide", asleep, until);
    document?.addEventListener?.("freeze", asleep, until);
  }

  // ── the leader's lock ──────────────────────────────────────────────────────────────────────────

  #seek(): void {
    const { clock, group, random, tell } = this.#settings;
    const leader = named(group, "leader");
    this.#hold(leader, false, () => {
      this.#granted();
    });
    this.#attach();
    this.#cancelSeek = clock.after(SEEK.least + random() * SEEK.random, () => {
      tell("the tab that holds the connection does not answer, and loses it");
      this.#hold(leader, true, () => {
        this.#granted();
      });
    });
  }

  /** Hold a lock until the end; `run` once it is there. To lose it to another tab is the end. */
  #hold(name: string, steal: boolean, run: () => void): void {
    const { signal } = this.#stop;
    const held = this.#settings.browser.lock(name, steal ? { steal } : { signal }, async () => {
      if (this.over) return;
      const end = new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          resolve();
        });
      });
      run();
      await end;
    });
    held.catch(() => {
      this.#lost("another tab has taken the lead");
    });
  }

  #granted(): void {
    if (this.#part instanceof Leader) return;
    if (this.#part) {
      this.#lost("the tab that held the connection is gone");
      return;
    }
    this.#cancelSeek?.();
    this.#part = new Leader(this.#id, this.#settings, this.#listener, this.#common, () => {
      this.#end(1000, "");
    });
  }

  // ── the group ──────────────────────────────────────────────────────────────────────────────────

  #attach(): void {
    const message: GroupMessage = { type: "attach", from: this.#id };
    this.#common.post(message);
  }

  #heardOfGroup(message: GroupMessage): void {
    const part = this.#part;
    if (message.type === "attach") {
      if (part instanceof Leader) part.attach(message.from);
    } else if (!part) this.#attach();
    else if (part instanceof Follower && part.isBehind(message.hub)) this.#lost("another tab has taken the lead");
  }

  #heard(message: HubMessage): void {
    if (message.type === "attached" && !this.#part) this.#follow(message.hub, message.client);
    if (this.#part instanceof Follower) {
      this.#part.heard(message, () => {
        this.#end(1000, "");
      });
    }
  }

  #follow(leader: string, client: string): void {
    this.#cancelSeek?.();
    const lost = (reason: string): void => {
      this.#lost(reason);
    };
    this.#part = new Follower(this.#id, leader, this.#settings, this.#listener, lost);
    if (this.#listener.accepts(client)) return;
    this.#end(1000, "");
    this.#listener.aside("calls of this tab belong to another name of the client");
  }
}

import { connect, type ConnectOptions, type Live } from "../src/index.js";
import { webSocketTransport } from "../src/socket.js";
import type { Channel, LockRequest, TabsBrowser } from "../src/tabs/browser.js";
import { sharedSocket } from "../src/tabs/socket.js";
import type { Cancel, Clock } from "../src/clock.js";
import { settle, type ManualClock } from "./clock.js";
import type { FakeServer } from "./server.js";

interface Request {
  readonly tab: SimulatedTab;
  readonly held: () => Promise<void> | void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  over: boolean;
}

interface Lock {
  holder: Request | undefined;
  readonly queue: Request[];
}

/** Locks and channels of one browser profile. Tabs crash and freeze as the test says. */
export class SimulatedBrowser {
  readonly clock: ManualClock;
  readonly server: FakeServer;
  readonly tabs: SimulatedTab[] = [];
  readonly channels = new Set<{ readonly name: string; readonly tab: SimulatedTab; readonly heard: (message: unknown) => void }>();
  readonly #locks = new Map<string, Lock>();

  constructor(clock: ManualClock, server: FakeServer) {
    this.clock = clock;
    this.server = server;
  }

  open(options: TabOptions = {}): SimulatedTab {
    const tab = new SimulatedTab(this, options);
    this.tabs.push(tab);
    return tab;
  }

  /** Names of locks that are held or waited for. */
  get locks(): string[] {
    return [...this.#locks].filter(([, { holder, queue }]) => holder ?? queue.length).map(([name]) => name);
  }

  async request(tab: SimulatedTab, name: string, { signal, steal }: LockRequest, held: () => Promise<void> | void): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const lock = this.#locks.get(name) ?? { holder: undefined, queue: [] };
      this.#locks.set(name, lock);
      const request: Request = { tab, held, resolve, reject, over: false };
      signal?.addEventListener("abort", () => {
        if (lock.holder === request || request.over) return;
        request.over = true;
        lock.queue.splice(lock.queue.indexOf(request), 1);
        tab.task(() => {
          reject(new Error("AbortError"));
        });
      });
      if (steal && lock.holder) {
        const robbed = lock.holder;
        robbed.over = true;
        lock.holder = undefined;
        robbed.tab.task(() => {
          robbed.reject(new Error("AbortError"));
        });
      }
      if (steal) lock.queue.unshift(request);
      else lock.queue.push(request);
      this.#grant(lock);
    });
  }

  #grant(lock: Lock): void {
    const request = lock.holder ? undefined : lock.queue.shift();
    if (!request) return;
    lock.holder = request;
    const release = (): void => {
      if (request.over) return;
      request.over = true;
      lock.holder = undefined;
      request.resolve();
      this.#grant(lock);
    };
    request.tab.task(() => {
      if (!request.over) void Promise.resolve(request.held()).then(release);
    });
  }

  /** The browser takes back everything that a tab had. */
  forget(tab: SimulatedTab): void {
    for (const channel of this.channels) if (channel.tab === tab) this.channels.delete(channel);
    for (const lock of this.#locks.values()) {
      for (const request of [...lock.queue]) if (request.tab === tab) lock.queue.splice(lock.queue.indexOf(request), 1);
      if (lock.holder?.tab !== tab) continue;
      lock.holder.over = true;
      lock.holder = undefined;
      this.#grant(lock);
    }
  }
}

export interface TabOptions {
  readonly identity?: string | undefined;
  readonly random?: () => number;
  readonly options?: ConnectOptions;
}

/** One tab with a client. */
export class SimulatedTab implements TabsBrowser {
  readonly live: Live;
  readonly told: string[] = [];
  /** After how many failures in a row this tab has asked for what carries a connection, each time that it did. */
  readonly failures: number[] = [];
  readonly document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  readonly window = new EventTarget();
  readonly #browser: SimulatedBrowser;
  readonly #tasks: (() => void)[] = [];
  readonly #timers = new Set<Cancel>();
  readonly #sockets: { close: () => void }[] = [];
  frozen = false;
  crashed = false;

  constructor(browser: SimulatedBrowser, { identity = "ada", random = () => 0.5, options = {} }: TabOptions) {
    this.#browser = browser;
    const { clock } = this;
    const carrier = (failures: number) => {
      this.failures.push(failures);
      const open = webSocketTransport(browser.server.WebSocket);
      return (url: string, listener: Parameters<typeof open>[1]) => {
        let over = false;
        const later = (run: () => void): void => {
          this.task(() => { if (!over) run(); });
        };
        const transport = open(url, {
          opened: () => { later(listener.opened); },
          received: (data) => { later(() => { listener.received(data); }); },
          closed: (code, reason) => { later(() => { listener.closed(code, reason); }); },
        });
        const close = (code: number): void => {
          over = true;
          transport.close(code);
        };
        if (this.crashed) close(1006);
        this.#sockets.push({ close: () => { close(1006); } });
        return { ...transport, close };
      };
    };
    const page = { window: this.window, document: this.document };
    const tell = (what: string): number => this.told.push(what);
    const WebSocket = sharedSocket({ browser: this, clock, random, page, identity, transports: undefined, carrier, tell, text: "" });
    this.live = connect({ url: "ws://server/live/ws", WebSocket, clock, random, page, shared: false, ...options });
  }

  /** Something that the browser lets this tab do, once it is not frozen. */
  task(run: () => void): void {
    if (this.crashed) return;
    this.#tasks.push(run);
    queueMicrotask(() => {
      this.#work();
    });
  }

  #work(): void {
    while (!this.frozen && !this.crashed) {
      const run = this.#tasks.shift();
      if (!run) return;
      run();
    }
  }

  get clock(): Clock {
    const { clock } = this.#browser;
    return {
      now: () => clock.now(),
      after: (ms, run) => {
        let over = false;
        const cancelTimer = clock.after(ms, () => {
          this.#timers.delete(cancel);
          this.task(() => {
            if (!over) run();
          });
        });
        const cancel = (): void => {
          over = true;
          this.#timers.delete(cancel);
          cancelTimer();
        };
        this.#timers.add(cancel);
        return cancel;
      },
    };
  }

  channel(name: string, heard: (message: unknown) => void): Channel {
    const channel = { name, tab: this, heard };
    const { channels } = this.#browser;
    if (!this.crashed) channels.add(channel); // what was awaited goes on in a test, and not in a process that is gone
    return {
      post: (message) => {
        if (this.crashed) return;
        const text = JSON.stringify(message);
        for (const other of channels) {
          if (other === channel || other.name !== name) continue;
          other.tab.task(() => {
            if (channels.has(other)) other.heard(JSON.parse(text));
          });
        }
      },
      close: () => {
        channels.delete(channel);
      },
    };
  }

  async lock(name: string, options: LockRequest, held: () => Promise<void> | void): Promise<void> {
    if (this.crashed) return;
    return this.#browser.request(this, name, options, held);
  }

  /** How many messages and the like wait for it to go on. */
  get waiting(): number {
    return this.#tasks.length;
  }

  get leads(): boolean {
    return !this.crashed && this.told.filter((what) => /holds the connection$|shares the|own:/.test(what)).at(-1) === "this tab holds the connection";
  }

  /** Without a word: the renderer process is gone. */
  async crash(): Promise<void> {
    this.crashed = true;
    this.#tasks.length = 0;
    for (const cancel of [...this.#timers]) cancel();
    for (const { close } of this.#sockets) close();
    this.#browser.forget(this);
    await settle();
  }

  /** `said`: with the event by which Chromium tells the page before it freezes it. */
  async freeze(said: boolean): Promise<void> {
    if (said) this.document.dispatchEvent(new Event("freeze"));
    this.frozen = true;
    await settle();
  }

  async thaw(): Promise<void> {
    this.frozen = false;
    this.#work();
    await settle();
  }

  /** Close the tab as a user does. */
  async shut(): Promise<void> {
    this.window.dispatchEvent(new Event("pagehide"));
    await settle();
    await this.crash();
  }
}

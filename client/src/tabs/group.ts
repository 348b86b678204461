import type { Clock } from "../clock.js";
import type { TabsBrowser } from "./browser.js";
import type { OpenTransport } from "../transport.js";
import type { WakeSource } from "../wake.js";

/** What one tab's part in a group needs. */
export interface GroupSettings {
  /** The group's name, which is that of its locks and channels too. */
  readonly group: string;
  readonly browser: TabsBrowser;
  readonly clock: Clock;
  readonly random: () => number;
  readonly page: WakeSource;
  readonly url: string;
  /** The tabs authenticate by token, each by its own. */
  readonly tokens: boolean;
  /** The name of the client that this tab gives a connection. */
  readonly client: () => string;
  /** The first message of a connection. */
  readonly hello: () => string;
  /** What carries the connection, should this tab become the leader. */
  readonly open: () => OpenTransport | Promise<OpenTransport>;
  /** For developers, in debug mode. */
  readonly tell: (what: string) => void;
}

/** What becomes of a tab's part in a group. */
export interface GroupListener {
  received(text: string): void;
  closed(code: number, reason: string): void;
  /** The tab needs a connection of its own. */
  aside(reason: string): void;
  /** Whether this tab can go on under this name of the client. */
  accepts(client: string): boolean;
}

/** As leader, or as one that follows. */
export interface Part {
  say(text: string): void;
  /** `code` is for the server, `reason` for the other tabs. The listener hears nothing more. */
  close(code: number, reason: string): void;
}

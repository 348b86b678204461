/** What tabs of one browser have in common, as far as sharing needs it: locks and channels. Tests bring their own. */
export interface TabsBrowser {
  /** A place where tabs of the same origin hear each other. A tab does not hear its own messages from the same channel. */
  channel(name: string, heard: (message: unknown) => void): Channel;
  /**
   * Run `held` once this tab has the lock, and keep the lock until its promise settles. `steal` takes the lock away from the tab
   * that has it. Rejects when `signal` aborts while it waits, and when another tab steals the lock.
   */
  lock(name: string, options: LockRequest, held: () => Promise<void> | void): Promise<void>;
}

export interface Channel {
  post(message: object): void;
  close(): void;
}

export interface LockRequest {
  readonly signal?: AbortSignal;
  readonly steal?: true;
}

/** The browser's own, where tabs can share; else the reason why they cannot. */
export function tabsBrowser(): TabsBrowser | string {
  const { document, navigator, BroadcastChannel: Channels } = globalThis as Partial<typeof globalThis>;
  const locks = (navigator as Partial<Navigator> | undefined)?.locks;
  if (!document) return "this is no page";
  if (!locks) return "this browser has no Web Locks, or the page is not served by HTTPS";
  if (!Channels) return "this browser has no BroadcastChannel";
  return {
    channel(name, heard) {
      const channel = new Channels(name);
      channel.onmessage = ({ data }: MessageEvent<unknown>) => {
        heard(data);
      };
      return {
        post: (message) => {
          channel.postMessage(message);
        },
        close: () => {
          channel.onmessage = null;
          channel.close();
        },
      };
    },
    lock: async (name, options, held) => {
      await locks.request(name, options, held);
    },
  };
}

/** One call as the browser's storage keeps it. */
export interface StoredCall {
  /** When it was made, in milliseconds since 1970; no two calls of one page have the same. */
  readonly at: number;
  /** The page that makes the call. */
  readonly owner: string;
  readonly user: string | null;
  readonly topic: string;
  readonly name: string;
  readonly payload?: object | undefined;
  /** It may have reached the server. Kept for anonymous users only: the key of a call does not protect them on the next page. */
  readonly sent?: boolean;
}

/** Servers forget the key of a call after a day, unless they are set up otherwise. An older call could be carried out twice. */
const DAY = 86_400_000;

/**
 * Calls without an answer in `sessionStorage` or `localStorage`, one item for each call, so that tabs that write at the
 * same time do not overwrite each other. A storage that is disabled or full loses calls, and breaks nothing.
 */
export class StoredCalls {
  readonly #storage: Storage | undefined;
  readonly #prefix: string;

  /** `storage` is a function because the browser throws where a disabled storage is named. */
  constructor(storage: () => Storage, name: string) {
    this.#storage = harmless(storage);
    this.#prefix = `${name}:call:`;
  }

  /** Write one call. Returns false when the storage does not take it. */
  put(key: string, call: StoredCall): boolean {
    return harmless(() => this.#storage?.setItem(this.#prefix + key, JSON.stringify(call)) === undefined) ?? false;
  }

  remove(key: string): void {
    harmless(() => this.#storage?.removeItem(this.#prefix + key));
  }

  /** All calls in the order in which they were made. Removes those that are too old or cannot be read. */
  all(): readonly (readonly [key: string, call: StoredCall])[] {
    const found: [string, StoredCall][] = [];
    for (const item of harmless(() => Object.keys(this.#storage ?? {})) ?? []) {
      if (!item.startsWith(this.#prefix)) continue;
      const key = item.slice(this.#prefix.length);
      const call = harmless(() => JSON.parse(this.#storage?.getItem(item) ?? "null") as StoredCall | null);
      if (call && Math.abs(Date.now() - call.at) < DAY) found.push([key, call]);
      else this.remove(key);
    }
    return found.sort(([, one], [, other]) => one.at - other.at);
  }
}

function harmless<Value>(access: () => Value): Value | undefined {
  try {
    return access();
  } catch {
    return undefined;
  }
}

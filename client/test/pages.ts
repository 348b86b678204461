/** Locks and storage as the pages of one browser share them. */

export class MemoryStorage implements Storage {
  [name: string]: unknown;

  get length(): number {
    return this.items("").length;
  }

  /** The names of all items that begin so. */
  items(prefix: string): string[] {
    return Object.keys(this).filter((name) => typeof this[name] === "string" && name.startsWith(prefix));
  }

  key(index: number): string | null {
    return this.items("")[index] ?? null;
  }

  getItem(name: string): string | null {
    return (this[name] as string | undefined) ?? null;
  }

  setItem(name: string, text: string): void {
    this[name] = text;
  }

  removeItem(name: string): void {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- as the browser's storage does
    delete this[name];
  }

  clear(): void {
    for (const name of this.items("")) this.removeItem(name);
  }
}

interface Request {
  readonly run: () => unknown;
  readonly done: (value: unknown) => void;
}

/** As much of the Web Locks API as the queue uses. The browser releases the locks of a page that ends. */
export class Pages {
  readonly #queues = new Map<string, Request[]>();

  readonly locks = {
    request: (name: string, run: () => unknown): Promise<unknown> =>
      new Promise((done) => {
        const queue = this.#queues.get(name) ?? [];
        this.#queues.set(name, queue);
        queue.push({ run, done });
        if (queue.length === 1) this.#grant(name);
      }),
  };

  /** End the page that took its lock as the `index`th, or all pages. */
  end(index?: number): void {
    const names = [...this.#queues].filter(([, queue]) => queue.length).map(([name]) => name);
    for (const name of index === undefined ? names : names.slice(index, index + 1)) this.#release(name);
  }

  #grant(name: string): void {
    const [request] = this.#queues.get(name) ?? [];
    if (!request) return;
    const over = (value: unknown): void => {
      request.done(value);
      if (this.#queues.get(name)?.[0] === request) this.#release(name);
    };
    void Promise.resolve().then(request.run).then(over);
  }

  #release(name: string): void {
    this.#queues.get(name)?.shift();
    this.#grant(name);
  }
}

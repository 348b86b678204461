/** The transport that got through, for the pages that follow. */
export interface Note {
  readonly name: string;
  /** In milliseconds since 1970. */
  readonly at: number;
}

/** A note is of no use after so many milliseconds: the machine may be in another network. */
const AGE = 3_600_000;

/**
 * The item `holdfast` of the browser's `localStorage`: words with spaces between them. A client that finds any loads the
 * fallback at once. `debug` is the developer's, `sse@1763838000000` a note. A storage that is disabled or full remembers nothing, and breaks nothing.
 */
export class Memory {
  readonly #storage: () => Storage;

  /** `storage` is a function because the browser throws where a disabled storage is named. */
  constructor(storage: () => Storage) {
    this.#storage = storage;
  }

  get debug(): boolean {
    return this.#words.includes("debug");
  }

  read(now: number): Note | undefined {
    for (const word of this.#words) {
      const [name = "", at] = word.split("@");
      if (at && Math.abs(now - Number(at)) < AGE) return { name, at: Number(at) };
    }
    return undefined;
  }

  /** Replace the note; without one, forget it. */
  write(note: Note | undefined): void {
    const words = [...this.#words].filter((word) => word && !word.includes("@"));
    if (note) words.push(`${note.name}@${note.at}`);
    try {
      if (words.length) this.#storage().setItem("holdfast", words.join(" "));
      else this.#storage().removeItem("holdfast");
    } catch {
      // the next page finds out by itself
    }
  }

  get #words(): readonly string[] {
    try {
      return this.#storage().getItem("holdfast")?.split(" ") ?? [];
    } catch {
      return [];
    }
  }
}

/** A place in one topic's log: everything up to and including `offset` has been seen. */
export interface Position {
  /** The life of the log. Offsets of different epochs cannot be compared. */
  readonly epoch: string;
  readonly offset: number;
}

/** Read a position that came from outside. Throws a TypeError for anything else. */
export function asPosition(value: unknown): Position {
  if (typeof value === "object" && value !== null && "epoch" in value && "offset" in value) {
    const { epoch, offset } = value;
    if (typeof epoch === "string" && epoch && Number.isSafeInteger(offset) && Number(offset) >= 0) {
      return { epoch, offset: Number(offset) };
    }
  }
  throw new TypeError(`expected a position like {"epoch": "k3", "offset": 41}, got ${JSON.stringify(value)}`);
}

/** The position that a `joined` or `reset` payload carries; ephemeral topics have none. */
export function positionIn(payload: { readonly epoch?: string; readonly offset?: number }): Position | undefined {
  const { epoch, offset } = payload;
  return epoch === undefined || offset === undefined ? undefined : { epoch, offset };
}

/** A place in one topic's log: everything up to and including `offset` has been seen. */
export interface Position {
  /** The life of the log. Offsets of different epochs cannot be compared. */
  readonly epoch: string;
  readonly offset: number;
  /** Tells which event was seen at `offset`, should a log that went back in time give that offset out again. */
  readonly stamp?: number;
}

interface Placed {
  readonly epoch?: string;
  readonly offset?: number;
  readonly stamp?: number;
}

/** Read a position that came from outside. Throws a TypeError for anything else. */
export function asPosition(value: unknown): Position {
  const { epoch, offset, stamp } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof epoch === "string" && epoch && isCount(offset) && (stamp === undefined || isCount(stamp))) {
    return position(epoch, offset, stamp);
  }
  throw new TypeError(`not a position: ${JSON.stringify(value)}`);
}

/** The position that a `joined` or `reset` payload carries; ephemeral topics have none. */
export function positionIn({ epoch, offset, stamp }: Placed): Position | undefined {
  return epoch === undefined || offset === undefined ? undefined : position(epoch, offset, stamp);
}

export function position(epoch: string, offset: number, stamp: number | undefined): Position {
  return { epoch, offset, ...(stamp && { stamp }) };
}

/** Whether two positions are the same place in the same log. */
export function samePlace(one: Position | undefined, other: Position | undefined): boolean {
  return one?.epoch === other?.epoch && one?.offset === other?.offset;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

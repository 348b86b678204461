import type { Position } from "./position.js";

/** Positions as the server writes them into attributes: `k3:41.7`. */

export function positionOf(text: string | null): Position | undefined {
  const [, epoch, offset, stamp] = /^(.+):(\d+)(?:\.(\d+))?$/.exec(text ?? "") ?? [];
  return epoch ? { epoch, offset: Number(offset), ...(stamp && { stamp: Number(stamp) }) } : undefined;
}

export function textOf({ epoch, offset, stamp }: Position): string {
  return `${epoch}:${offset}${stamp ? `.${stamp}` : ""}`;
}

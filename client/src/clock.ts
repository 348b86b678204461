/** Cancels what was planned; harmless when it has happened already. */
export type Cancel = () => void;

/** Time as the client sees it: milliseconds, and one way to be woken later. */
export interface Clock {
  now(): number;
  after(ms: number, run: () => void): Cancel;
}

/** A number that time can be counted by, finite and above zero; undefined for anything else that is found in its place. */
export function positive(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 && value < Infinity ? value : undefined;
}

/** The longest timer that is set at once. */
const SLICE = 5_000;

/**
 * Timers of most systems stand still while the machine is suspended. Long ones are therefore set in slices: after each the
 * time of day says whether the end has passed. The slices are counted too, so that a clock that is set back delays nothing.
 */
export const systemClock: Clock = {
  // Not performance.now(): it stands still while some machines sleep, and sleep is what has to be noticed.
  now: () => Date.now(),
  after(ms, run) {
    const due = Date.now() + ms;
    let left = ms;
    let timer: ReturnType<typeof setTimeout>;
    const plan = (): void => {
      const slice = Math.min(left, SLICE);
      timer = setTimeout(() => {
        left -= slice;
        if (left > 0 && Date.now() < due) plan();
        else run();
      }, slice);
    };
    plan();
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Cancels what was planned; harmless when it has happened already. */
export type Cancel = () => void;

/** Time as the client sees it: milliseconds, and one way to be woken later. */
export interface Clock {
  now(): number;
  after(ms: number, run: () => void): Cancel;
}

/** `setTimeout` takes a signed 32-bit number and fires at once beyond it. */
const LONGEST = 2 ** 31 - 1;

export const systemClock: Clock = {
  // Not performance.now(): it stands still while some machines sleep, and sleep is what has to be noticed.
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, LONGEST));
    return () => {
      clearTimeout(timer);
    };
  },
};

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { systemClock } from "../src/clock.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Plan something; the list fills when it has happened. */
function planned(ms: number): { cancel: () => void; fired: number[] } {
  const start = Date.now();
  const fired: number[] = [];
  const cancel = systemClock.after(ms, () => fired.push(Date.now() - start));
  return { cancel, fired };
}

test.each([0, 1, 4_000, 4_999, 5_000, 5_001, 60_000])("after %i ms it runs, once and on time", (ms) => {
  const { fired } = planned(ms);
  vi.advanceTimersByTime(Math.max(ms - 1, 0));
  expect(fired).toEqual(ms ? [] : [0]);
  vi.advanceTimersByTime(100_000);
  expect(fired).toEqual([ms]);
});

test("what fell due while the machine was suspended runs soon after, though its timer has long to run", () => {
  const { fired } = planned(60_000);
  vi.advanceTimersByTime(1_000);
  vi.setSystemTime(Date.now() + 3_600_000); // timers stand still
  vi.advanceTimersByTime(5_000);
  expect(fired).toHaveLength(1);
});

test("a clock that is set back delays nothing", () => {
  const { fired } = planned(12_000);
  vi.setSystemTime(Date.now() - 3_600_000);
  vi.advanceTimersByTime(12_000);
  expect(fired).toHaveLength(1);
});

test("what is further away than setTimeout can count does not run at once", () => {
  const { fired, cancel } = planned(30 * 24 * 3_600_000);
  vi.advanceTimersByTime(60_000);
  expect(fired).toEqual([]);
  vi.setSystemTime(Date.now() + 2 ** 31 - 1); // where the longest timer of setTimeout would have ended
  vi.advanceTimersByTime(60_000);
  expect(fired).toEqual([]);
  cancel();
});

test.each([1_000, 30_000])("what is cancelled does not run, and leaves no timer (%i ms)", (ms) => {
  const { cancel, fired } = planned(ms);
  vi.advanceTimersByTime(ms / 2);
  cancel();
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(100_000);
  expect(fired).toEqual([]);
});

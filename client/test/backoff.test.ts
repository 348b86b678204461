import { expect, test } from "vitest";

import { Backoff } from "../src/backoff.js";

const options = { base: 1_000, cap: 30_000 };

test("each wait is drawn from a range that doubles up to the cap", () => {
  const backoff = new Backoff(options, () => 1);
  expect(Array.from({ length: 7 }, () => backoff.next())).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test("the whole range is used, down to zero", () => {
  const draws = [0, 0.25, 0.999];
  const backoff = new Backoff(options, () => draws.shift() ?? 0);
  expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([0, 500, 3_996]);
});

test("a thousand attempts do not overflow", () => {
  const backoff = new Backoff(options, () => 1);
  for (let attempt = 0; attempt < 2_000; attempt++) backoff.next();
  expect(backoff.next()).toBe(30_000);
});

test("a reset starts over", () => {
  const backoff = new Backoff(options, () => 1);
  backoff.next();
  backoff.next();
  backoff.reset();
  expect(backoff.next()).toBe(1_000);
});

test("a wait that should be short does not grow with the attempts", () => {
  const backoff = new Backoff(options, () => 1);
  for (let attempt = 0; attempt < 9; attempt++) backoff.next();
  expect(backoff.soon()).toBe(1_000);
});

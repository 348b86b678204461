import { afterEach, beforeEach, expect, vi } from "vitest";

/** Errors that the client reported during a test; a test that expects some takes them out. */
export const reported: unknown[] = [];

beforeEach(() => {
  reported.length = 0;
  vi.stubGlobal("reportError", (error: unknown) => {
    reported.push(error);
  });
});

afterEach(() => {
  expect(reported).toEqual([]);
});

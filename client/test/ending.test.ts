import { expect, test } from "vitest";

import { CLOSE_CODES, RETRIED } from "../src/codes.js";
import { endingOf, isFinal } from "../src/ending.js";

test.each([1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 1015, 3000, 4000, 4001, 4029, 4399, 4500])(
  "close code %i means come back",
  (code) => {
    expect(isFinal(code)).toBe(false);
  },
);

test.each([1002, 1003, 1007, 1008, 4400, 4401, 4403, 4406, 4499])("close code %i is final", (code) => {
  expect(isFinal(code)).toBe(true);
});

test("the catalogue and the rule agree on every close code", () => {
  expect(Object.keys(CLOSE_CODES)).not.toHaveLength(0);
  for (const [close, code] of Object.entries(CLOSE_CODES)) expect(isFinal(Number(close))).toBe(!RETRIED.includes(code));
});

test("a close code of the catalogue is told by its name", () => {
  expect(endingOf(4401, "", undefined)).toMatchObject({ final: true, error: { code: "unauthenticated" } });
});

test("any other close code is a lost connection, told with what the server said", () => {
  const { error } = endingOf(1011, "boom", undefined);
  expect(error).toMatchObject({ code: "connection_lost", retry: true });
  expect(error.message).toContain("1011: boom");
});

test("a goodbye outranks the close code after it", () => {
  expect(endingOf(1006, "", { code: "disconnected", reconnect: false })).toMatchObject({
    final: true,
    error: { code: "disconnected" },
  });
  expect(endingOf(1008, "", { code: "draining", reconnect: true, after: 3.2 })).toMatchObject({
    final: false,
    after: 3_200,
    error: { code: "draining" },
  });
});

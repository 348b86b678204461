import { expect, test } from "vitest";

import { MESSAGES } from "../src/codes.js";
import { LiveError } from "../src/errors.js";
import { textOf } from "../src/texts.js";

test.each([...Object.keys(MESSAGES), "closed", "queue_full", "no_websocket"])("the code %s has a sentence", (code) => {
  expect(textOf(new LiveError(code))).toMatch(/^[A-Z].*\.$/);
});

test("a message that says more than the code stays", () => {
  expect(textOf(new LiveError("forbidden", "Not on Sundays."))).toBe("Not on Sundays.");
  expect(textOf(new LiveError("connection_lost", "connection lost (close code 1006)"))).toContain("1006");
});

test("a code that only a newer server knows is given as its words", () => {
  expect(textOf(new LiveError("new_thing"))).toBe("new thing");
});

import { expect, test } from "vitest";

import { Emitter } from "../src/emitter.js";
import { reported } from "./quiet.js";

interface Events {
  said: [word: string];
}

test("handlers are called in the order in which they were added", () => {
  const emitter = new Emitter<Events>();
  const heard: string[] = [];
  emitter.on("said", (word) => heard.push(`first ${word}`));
  emitter.on("said", (word) => heard.push(`second ${word}`));
  emitter.emit("said", "hi");
  expect(heard).toEqual(["first hi", "second hi"]);
});

test("a handler that throws is reported and stops no other", () => {
  const emitter = new Emitter<Events>();
  const heard: string[] = [];
  const mistake = new Error("a mistake in a handler");
  emitter.on("said", () => {
    throw mistake;
  });
  emitter.on("said", (word) => heard.push(word));
  emitter.emit("said", "hi");
  expect(heard).toEqual(["hi"]);
  expect(reported.splice(0)).toEqual([mistake]);
});

test("one function added twice is called twice, and each is taken away by itself", () => {
  const emitter = new Emitter<Events>();
  const heard: string[] = [];
  const handler = (word: string): unknown => heard.push(word);
  const off = emitter.on("said", handler);
  emitter.on("said", handler);
  emitter.emit("said", "two");
  off();
  off();
  emitter.emit("said", "one");
  expect(heard).toEqual(["two", "two", "one"]);
});

test("a handler added during an emit is called from the next one on", () => {
  const emitter = new Emitter<Events>();
  const heard: string[] = [];
  emitter.on("said", () => emitter.on("said", (word) => heard.push(word)));
  emitter.emit("said", "now");
  expect(heard).toEqual([]);
  emitter.emit("said", "then");
  expect(heard).toEqual(["then"]);
});

test("a name like a property of every object has no handlers of its own", () => {
  const emitter = new Emitter<Record<string, [word: string]>>();
  emitter.emit("constructor", "hi");
  emitter.emit("toString", "hi");
  emitter.emit("__proto__", "hi");
  expect(reported).toEqual([]);
});

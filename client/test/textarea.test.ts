/** A textarea bound to a text of Yjs. A real browser is used by Harbor's tests; here are the places that a caret can take. */

import { expect, test } from "vitest";
import * as Y from "yjs";

import { EditorStates } from "../src/awareness.js";
import { bindTextarea, difference, moved } from "../src/textarea.js";
import { Random } from "./random.js";

/** As much of a textarea as the binding uses. */
class FakeArea extends EventTarget {
  readonly ownerDocument: EventTarget & { activeElement: unknown } = Object.assign(new EventTarget(), { activeElement: this });
  selectionStart = 0;
  selectionEnd = 0;
  selectionDirection = "none";
  scrollTop = 0;
  readOnly = false;
  #value = "";

  get value(): string {
    return this.#value;
  }

  set value(text: string) {
    this.#value = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
    this.selectionStart = this.selectionEnd = this.#value.length;
  }

  setSelectionRange(start: number, end: number): void {
    this.selectionStart = start;
    this.selectionEnd = end;
  }

  /** Replace the selection, as a keyboard does. */
  type(text: string, { start = this.selectionStart, end = this.selectionEnd } = {}): void {
    this.#value = this.#value.slice(0, start) + text + this.#value.slice(end);
    this.setSelectionRange(start + text.length, start + text.length);
    this.dispatchEvent(new Event("input"));
  }

  press(key: string, more: object = {}): boolean {
    return this.dispatchEvent(Object.assign(new Event("keydown", { cancelable: true }), { key, ctrlKey: true, metaKey: false, ...more }));
  }
}

function bound(content = "", doc = new Y.Doc()) {
  const text = doc.getText("text");
  if (content) text.insert(0, content);
  const area = new FakeArea();
  const awareness = new EditorStates(doc);
  awareness.setLocalState({});
  const binding = bindTextarea(text, area as unknown as HTMLTextAreaElement, { awareness });
  return { doc, text, area, awareness, binding };
}

test("what is typed goes into the text, and what others write comes out", () => {
  const { text, area } = bound("hello");
  expect(area.value).toBe("hello");
  area.setSelectionRange(5, 5);
  area.type("!");
  expect(text.toJSON()).toBe("hello!");
  text.insert(0, "oh, ");
  expect(area.value).toBe("oh, hello!");
  expect(area.selectionStart).toBe(10);
  area.type("", { start: 0, end: 4 });
  expect(text.toJSON()).toBe("hello!");
});

test.each([
  ["aaa", "aaaa", 1, { start: 0, removed: 0, inserted: "a" }],
  ["aaa", "aa", 1, { start: 1, removed: 1, inserted: "" }],
  ["abc", "aXc", 2, { start: 1, removed: 1, inserted: "X" }],
  ["abc", "", 0, { start: 0, removed: 3, inserted: "" }],
  ["same", "same", 2, { start: 2, removed: 0, inserted: "" }],
  ["😀", "😁", 2, { start: 0, removed: 2, inserted: "😁" }],
  ["😀x", "😀😀x", 2, { start: 0, removed: 0, inserted: "😀" }],
  ["🀄", "😄", 2, { start: 0, removed: 2, inserted: "😄" }],
])("the difference of %j and %j with the caret at %i", (before, after, caret, change) => {
  const found = difference(before, after, caret);
  expect({ ...found, start: found.removed || found.inserted ? found.start : change.start }).toEqual(change);
});

test("any typing makes the text what the textarea shows, and halves no character", () => {
  const random = new Random(Math.floor(Math.random() * 2 ** 31));
  const { text, area } = bound();
  for (let step = 0; step < 2_000; step++) {
    const letters = Array.from(area.value);
    const [one, other] = [random.below(letters.length + 1), random.below(letters.length + 1)];
    const cut = (count: number): number => letters.slice(0, count).join("").length;
    const inserted = ["", "a", "b", "😀", "😁", "🀄", "aa\n"][random.below(7)] ?? "";
    area.type(inserted, { start: cut(Math.min(one, other)), end: cut(Math.max(one, Math.min(other, one + 3))) });
    expect(text.toJSON()).toBe(area.value);
    expect(area.value).not.toContain("\ufffd");
  }
});

test.each([
  [5, [{ retain: 2 }, { insert: "abc" }], 8],
  [2, [{ retain: 2 }, { insert: "abc" }], 2],
  [5, [{ delete: 3 }], 2],
  [2, [{ retain: 1 }, { delete: 3 }], 1],
  [5, [{ retain: 8 }, { insert: "x" }], 5],
  [5, [{ insert: "ab" }, { retain: 3 }, { delete: 1 }], 6],
])("a caret at %i is at its place after %j", (index, delta, place) => {
  expect(moved(index, delta)).toBe(place);
});

test("undo takes back what this page did, and nothing of the others", () => {
  const { text, area } = bound("hello");
  area.setSelectionRange(5, 5);
  area.type(" mine");
  text.insert(0, "theirs ");
  expect(area.press("z")).toBe(false);
  expect(area.value).toBe("theirs hello");
  expect(area.selectionStart).toBe(12);
  area.press("z", { shiftKey: true });
  expect(area.value).toBe("theirs hello mine");
  expect(area.press("b")).toBe(true);
  const menu = Object.assign(new Event("beforeinput", { cancelable: true }), { inputType: "historyUndo" });
  expect(area.dispatchEvent(menu)).toBe(false);
  expect(area.value).toBe("theirs hello");
});

test("what others write while an input method composes waits until it has", () => {
  const { text, area } = bound("one two");
  area.setSelectionRange(3, 3);
  area.dispatchEvent(new Event("compositionstart"));
  area.type("に");
  text.insert(0, "zero ");
  text.insert(text.length, " three");
  expect(area.value).toBe("oneに two");
  area.type("日本", { start: 3, end: 4 });
  area.dispatchEvent(new Event("compositionend"));
  expect(text.toJSON()).toBe("zero one日本 two three");
  expect(area.value).toBe("zero one日本 two three");
  expect(area.selectionStart).toBe("zero one日本".length);
});

test("what others write inside a selection that an input method replaces stays", () => {
  const { text, area } = bound("a long text");
  area.setSelectionRange(2, 11);
  area.dispatchEvent(new Event("compositionstart"));
  area.type("に");
  text.insert(7, "theirs "); // a long theirs text
  text.delete(3, 2); // a lg theirs text
  text.insert(2, "1 ");
  area.type("日本", { start: 2, end: 3 });
  area.dispatchEvent(new Event("compositionend"));
  expect(text.toJSON()).toBe("a 日本1 theirs ");
  expect(area.value).toBe(text.toJSON());
  expect(area.selectionStart).toBe("a 日本".length);
});

test("a text with carriage returns loses them, because a textarea cannot show them", () => {
  const { text, area } = bound("a\r\nb\r\n");
  expect(text.toJSON()).toBe("a\nb\n");
  area.setSelectionRange(4, 4);
  area.type("c");
  expect(text.toJSON()).toBe("a\nb\nc");
});

test("cursors of others are where they are in the text now", () => {
  const { doc, text, area, awareness, binding } = bound("hello");
  area.setSelectionRange(1, 4);
  area.ownerDocument.dispatchEvent(new Event("selectionchange"));
  const cursor = awareness.getLocalState()?.["cursor"];
  const from = { by: "~b", member: null, now: 0 };
  awareness.receive(9, { cursor, user: { name: "grace" } }, from);
  awareness.receive(10, { cursor: { anchor: { item: "x" }, head: 5 } }, from);
  awareness.receive(11, { cursor: null }, from);
  text.insert(0, "oh, ");
  expect(binding.cursors()).toEqual([{ client: 9, user: { name: "grace" }, anchor: 5, head: 8 }]);
  area.ownerDocument.activeElement = null;
  area.dispatchEvent(new Event("blur"));
  expect(awareness.getLocalState()).toEqual({ cursor: null });
  binding.destroy();
  doc.getText("text").insert(0, "x");
  expect(area.value).toBe("oh, hello");
});

// @vitest-environment happy-dom
import { afterEach, describe, expect, test } from "vitest";

import { morph } from "../src/morph.js";
import { Random } from "./random.js";

/** The element that a text describes, in no page. */
function element(html: string): Element {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.children[0] ?? document.body;
}

/** The same, in the page. */
function shown(html: string): HTMLElement {
  document.body.innerHTML = html;
  return document.body.firstElementChild as HTMLElement;
}

function id(name: string): HTMLInputElement {
  return document.getElementById(name) as HTMLInputElement;
}

afterEach(() => {
  document.body.innerHTML = "";
});

describe("the page is equal to the fragment afterwards", () => {
  test.each([
    ["<p>a</p>", "<p>b</p>"],
    ["<p class='x'>a</p>", "<p id='n' title='t'>a<b>b</b></p>"],
    ["<ul><li>1</li><li>2</li></ul>", "<ul><li>0</li><li>1</li><li>2</li></ul>"],
    ["<ul><li>1</li><li>2</li><li>3</li></ul>", "<ul></ul>"],
    ["<p>text <!-- a --> more</p>", "<p><!-- b --><i>x</i></p>"],
    ["<div><p id='a'></p><p id='b'></p></div>", "<div><p id='b'></p><p id='a'></p></div>"],
    ["<div id='x'><div id='y'></div></div>", "<div id='y'><div id='x'></div></div>"],
    ["<p>a</p>", "<section>a</section>"],
    ["<div><template><b>1</b></template></div>", "<div><template><b>2</b><i></i></template></div>"],
    ["<p>a</p>", `<p @click="x" :class="y">a</p>`],
  ])("%s → %s", (before, after) => {
    morph(shown(before), element(after));
    expect(document.body.innerHTML).toBe(element(after).outerHTML);
  });
});

test("elements with the same id stay the same, wherever they are now", () => {
  const from = shown("<div><p id='a'></p><section><i><b id='b'>1</b></i></section><p id='c'></p></div>");
  const [a, b, c] = ["a", "b", "c"].map((name) => id(name));
  morph(from, element("<div><p id='c'><b id='b'>2</b></p><section><p id='a'></p></section></div>"));
  expect([id("a"), id("b"), id("c")]).toEqual([a, b, c]);
  expect(id("b")).toBe(b);
});

test("what surrounds an element with an id stays with it", () => {
  const from = shown("<form><div><input id='name'></div></form>");
  const around = from.firstElementChild;
  morph(from, element("<form><div>An error</div><div><input id='name'></div></form>"));
  expect(from.children[1]).toBe(around);
});

test("siblings with a key stay the same", () => {
  const from = shown("<ul><li live-key='1'>1</li><li live-key='2'>2</li></ul>");
  const [one, two] = from.children;
  morph(from, element("<ul><li live-key='2'>two</li><li live-key='3'>3</li><li live-key='1'>one</li></ul>"));
  expect([from.children[0], from.children[2]]).toEqual([two, one]);
  expect(from.children[2]).toBe(one);
  expect(from.textContent).toBe("two3one");
});

test("siblings without id or key stay the same in front of a new one and behind it", () => {
  const from = shown("<ul><li>1</li><li>2</li><li>3</li></ul>");
  const [one, two, three] = from.children;
  morph(from, element("<ul><li>1</li><li>new</li><li>2</li><li>3</li></ul>"));
  expect(from.children[0]).toBe(one);
  expect(from.children[2]).toBe(two);
  expect(from.children[3]).toBe(three);
});

test("an element that has the focus keeps it, and its selection", () => {
  const from = shown("<ul><li id='1'></li><li id='2'><input id='name' value='abc'></li></ul>");
  const field = id("name");
  field.focus();
  field.setSelectionRange(1, 2);
  let blurred = 0;
  field.addEventListener("blur", () => blurred++);
  morph(from, element("<ul><li id='3'></li><li id='2'><p>hint</p><input id='name' value='abc'></li><li id='1'></li></ul>"));
  expect(document.activeElement).toBe(field);
  expect([field.selectionStart, field.selectionEnd, blurred]).toEqual([1, 2, 0]);
});

test("an element that moves into another one gets the focus back", () => {
  const from = shown("<div><input id='name'><section></section></div>");
  id("name").focus();
  morph(from, element("<div><section><input id='name'></section></div>"));
  expect(document.activeElement).toBe(id("name"));
});

test("typed text stays; a field without typed text shows the new value", () => {
  const from = shown("<form><input id='a' value='1'><input id='b' value='1'><textarea id='c'>1</textarea><textarea id='d'>1</textarea></form>");
  id("a").value = id("c").value = "typed";
  morph(from, element("<form><input id='a' value='2'><input id='b' value='2'><textarea id='c'>2</textarea><textarea id='d'>2</textarea></form>"));
  expect(["a", "b", "c", "d"].map((name) => id(name).value)).toEqual(["typed", "2", "typed", "2"]);
});

test("a user's choices stay; others follow the server", () => {
  const boxes = (extra: string) => `<form><input type='checkbox' id='a'><input type='checkbox' id='b' ${extra}></form>`;
  const from = shown(boxes(""));
  id("a").checked = true;
  morph(from, element(boxes("checked")));
  expect([id("a").checked, id("b").checked]).toEqual([true, true]);
});

test("a chosen option stays while there is one; else the server's is chosen", () => {
  const options = (...names: string[]) => `<select id='s'>${names.map((name) => `<option>${name}</option>`).join("")}</select>`;
  const select = shown(options("one", "two")) as HTMLSelectElement;
  select.value = "two";
  morph(select, element(options("zero", "one", "two")));
  expect(select.value).toBe("two");
  morph(select, element(options("zero", "one")));
  expect(select.value).toBe("zero");
});

/** What browsers do, and happy-dom does not: a form's field is the form's property of the field's name. */
function named(form: Element | null, name: string): void {
  Object.defineProperty(form, name, { configurable: true, value: form?.querySelector(`[name=${name}]`) });
}

test("a form with a field that is called id stays the same, with what was typed", () => {
  const form = (error: string) => `<div><form>${error}<input type='hidden' name='id' value='7'><input name='body'></form></div>`;
  const from = shown(form(""));
  const before = from.firstElementChild;
  named(before, "id");
  const body = from.querySelector<HTMLInputElement>("[name=body]");
  if (body) body.value = "typed";
  morph(from, element(form("<p>An error</p>")));
  expect(from.firstElementChild).toBe(before);
  expect(from.querySelector<HTMLInputElement>("[name=body]")?.value).toBe("typed");
});

test("a form with a button that is called remove can go", () => {
  const from = shown("<div><form><button name='remove'>Remove</button></form><p>a</p></div>");
  named(from.firstElementChild, "remove");
  morph(from, element("<div><p>b</p></div>"));
  expect(from.innerHTML).toBe("<p>b</p>");
});

test("a user's choice of one of several stays when the server marks another one", () => {
  const radios = (marked: string) =>
    `<form>${["a", "b", "c"].map((name) => `<input type='radio' name='r' id='${name}' value='${name}' ${name === marked ? "checked" : ""}>`).join("")}</form>`;
  const from = shown(radios("a"));
  id("b").checked = true;
  morph(from, element(radios("c")));
  expect(["a", "b", "c"].map((name) => id(name).checked)).toEqual([false, true, false]);
  morph(from, element(radios("a")));
  expect(["a", "b", "c"].map((name) => id(name).checked)).toEqual([false, true, false]);
});

test("what a user has opened stays open", () => {
  const from = shown("<div><details open><p>a</p></details></div>");
  morph(from, element("<div><details><p>b</p></details></div>"));
  expect(from.innerHTML).toBe(`<details open=""><p>b</p></details>`);
});

test("contents that are to be kept are kept", () => {
  const from = shown("<div><div id='map' live-keep=''></div><p>1</p></div>");
  id("map").innerHTML = "<canvas></canvas>";
  morph(from, element("<div><div id='map' live-keep=''></div><p>2</p></div>"));
  expect(from.innerHTML).toBe(`<div id="map" live-keep=""><canvas></canvas></div><p>2</p>`);
});

test("the fragment is not changed", () => {
  const to = element("<div><p id='a'>1</p></div>");
  const before = to.outerHTML;
  morph(shown("<div></div>"), to);
  expect(to.outerHTML).toBe(before);
});

// ── any two trees ────────────────────────────────────────────────────────────────────────────────

interface Tree {
  readonly tag: string;
  readonly id: string;
  readonly text: string;
  readonly attribute: boolean;
  readonly children: readonly Tree[];
}

function html({ tag, id, text, attribute, children }: Tree): string {
  return `<${tag}${id && ` id="${id}"`}${attribute ? ` title="${text}"` : ""}>${text}${children.map(html).join(text)}</${tag}>`;
}

function tree(next: () => number, ids: string[], depth = 0): Tree {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(next() * items.length)] as Item;
  const own = next() < 0.5 ? (ids.splice(Math.floor(next() * ids.length), 1)[0] ?? "") : "";
  return {
    // An element of an id is of one kind most of the time.
    tag: own && next() < 0.9 ? "div" : pick(["div", "section", "b"]),
    id: own,
    text: pick(["", "a", "b", " "]),
    attribute: next() < 0.3,
    children: depth > 3 ? [] : Array.from({ length: Math.floor(next() * 5) }, () => tree(next, ids, depth + 1)),
  };
}

test("any tree becomes any other one, and ids stay with their elements", () => {
  for (let seed = 0; seed < 300; seed++) {
    const { next } = new Random(seed);
    const names = (): string[] => Array.from({ length: 12 }, (_, index) => `i${index}`);
    const from = shown(html(tree(next, names())));
    const to = element(html(tree(next, names())));
    const before = new Map([from, ...from.querySelectorAll("[id]")].map((each) => [each.id, each]));
    morph(from, to);
    expect(document.body.firstElementChild?.isEqualNode(to), `seed ${seed}`).toBe(true);
    for (const fresh of [to, ...to.querySelectorAll("[id]")]) {
      const old = before.get(fresh.id);
      if (fresh.id && old?.nodeName === fresh.nodeName) expect(id(fresh.id) === old, `seed ${seed}: ${fresh.id}`).toBe(true);
    }
  }
}, 60_000);

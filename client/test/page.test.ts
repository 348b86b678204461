import { expect, test, vi } from "vitest";

import { pageBase, pageCursors, pageUrl, webSocketUrl } from "../src/page.js";
import { reported } from "./quiet.js";
import { world } from "./world.js";

/** A page with these scripts in it, by the selector that finds them. */
function page(scripts: Record<string, string>): void {
  const elements = new Map(Object.entries(scripts).map(([selector, textContent]) => [selector, { textContent }]));
  const querySelector = (selector: string) => elements.get(selector) ?? null;
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible", querySelector }));
}

const CURSOR = 'script[data-holdfast-cursor="rooms/lobby"]';

test("the address is the one that the page names", () => {
  page({ "script#holdfast-config": '{"url": "/elsewhere/ws", "and": "more"}' });
  expect(pageUrl()).toBe("/elsewhere/ws");
});

test("a page that names none means /live/ws", () => {
  page({});
  expect(pageUrl()).toBe("/live/ws");
});

test("without a page there is neither address nor cursor to read", () => {
  expect(pageUrl()).toBe("/live/ws");
  expect(pageCursors()("rooms/lobby")).toBeUndefined();
});

test.each([
  ["http://example.org/a/b", "/live/ws", "ws://example.org/live/ws"],
  ["https://example.org/a/b", "/live/ws", "wss://example.org/live/ws"],
  ["https://example.org/a/b", "wss://live.example.org/ws", "wss://live.example.org/ws"],
  ["https://example.org/a/b", "http://live.example.org/ws", "ws://live.example.org/ws"],
  ["https://example.org:8443/a/b", "c", "wss://example.org:8443/a/c"],
])("on %s the address %s means %s", (href, url, expected) => {
  vi.stubGlobal("location", { href });
  expect(webSocketUrl(url, pageBase())).toBe(expected);
});

test("a topic goes on from the page's cursor", async () => {
  page({ [CURSOR]: '{"epoch":"k3","offset":41}' });
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  expect(room.position).toEqual({ epoch: "k3", offset: 41 });
  await server.accept();
  expect(server.socket.look()).toEqual([
    { type: "join", topic: "rooms/lobby", ref: 1, payload: { since: { epoch: "k3", offset: 41 } } },
  ]);
});

test("a position given outranks the page's cursor, and null means from now", () => {
  page({ [CURSOR]: '{"epoch":"k3","offset":41}' });
  expect(world().live.topic("rooms/lobby", { since: { epoch: "k3", offset: 5 } }).position?.offset).toBe(5);
  expect(world().live.topic("rooms/lobby", { since: null }).position).toBeUndefined();
});

test("a cursor's stamp is kept", () => {
  page({ [CURSOR]: '{"epoch":"k3","offset":41,"stamp":7}' });
  expect(pageCursors()("rooms/lobby")).toEqual({ epoch: "k3", offset: 41, stamp: 7 });
});

test("a cursor that is none is reported and the topic starts from now", () => {
  page({ [CURSOR]: '{"epoch":"k3","offset":"41"}' });
  expect(pageCursors()("rooms/lobby")).toBeUndefined();
  page({ [CURSOR]: "{epoch" });
  expect(pageCursors()("rooms/lobby")).toBeUndefined();
  expect(reported.splice(0).map(String)).toEqual([
    'TypeError: not a position: {"epoch":"k3","offset":"41"}',
    expect.stringContaining("SyntaxError"),
  ]);
});

// Rendering on a server opens nothing: no connection, no lease, no timer.

import { createElement, Suspense } from "react";
import { renderToString } from "react-dom/server";
import { get } from "svelte/store";
import { expect, test, vi } from "vitest";
import { createSSRApp, h } from "vue";
import { renderToString as renderVue } from "vue/server-renderer";

import * as react from "../src/react.js";
import * as svelte from "../src/svelte.js";
import * as vue from "../src/vue.js";
import { settle } from "./clock.js";
import { world, type World } from "./world.js";

async function expectNothing({ live, server }: World): Promise<void> {
  await settle();
  expect(server.sockets).toEqual([]);
  expect(live.status).toBe("idle");
}

function App({ suspense = false }) {
  const room = react.useTopic("rooms/lobby", { suspense });
  const [list] = react.useEvents(room, (now: readonly unknown[]) => now, { initial: ["first"] });
  react.useEvent(room, "x", () => undefined);
  const { pending } = react.useCall(room, "post");
  return [room.status, list[0], react.useStatus().status, react.usePresence(room).members.length, String(pending)].join(" ");
}

test("React renders the first state", async () => {
  const around = world();
  const html = renderToString(createElement(react.LiveProvider, { live: around.live }, createElement(App)));
  expect(html).toBe("joining first idle 0 false");
  await expectNothing(around);
});

test("React renders the fallback of a component that suspends", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const around = world();
  const waiting = createElement(Suspense, { fallback: "wait" }, createElement(App, { suspense: true }));
  const html = renderToString(createElement(react.LiveProvider, { live: around.live }, waiting));
  expect(html).toContain("wait");
  expect(html).not.toContain("joining");
  await expectNothing(around);
  vi.useRealTimers();
});

test("Vue renders the first state", async () => {
  const around = world();
  const app = createSSRApp({
    setup: () => {
      const room = vue.useTopic(() => "rooms/lobby");
      const list = vue.useEvents(room, (now: readonly unknown[]) => now, { initial: ["first"] });
      vue.useEvent(room, "x", () => undefined);
      const { pending } = vue.useCall(room, "post");
      const { status } = vue.useStatus();
      return () => h("p", `${room.status.value} ${String(list.value[0])} ${status.value} ${pending.value}`);
    },
  });
  vue.provideLive(around.live, app);
  expect(await renderVue(app)).toBe("<p>joining first idle false</p>");
  await expectNothing(around);
});

test("Svelte reads the first state", async () => {
  const around = world();
  const room = svelte.topicStore("rooms/lobby", { live: around.live });
  expect(get(room).status).toBe("joining");
  expect(get(svelte.events(room, (now: readonly unknown[]) => now, { initial: ["first"] }))).toEqual(["first"]);
  await expectNothing(around);
});

test("without a provider, modules that are loaded on a server open nothing", () => {
  expect(get(svelte.status()).status).toBe("idle");
});

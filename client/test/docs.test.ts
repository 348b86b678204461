// @vitest-environment happy-dom
// The components of docs/how-to/react-vue-svelte.md, compiled and run as they stand there.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { buildSync, transformSync } from "esbuild";
import { act, createElement, type FunctionComponent } from "react";
import { createRoot } from "react-dom/client";
import * as jsxRuntime from "react/jsx-runtime";
import { compile } from "svelte/compiler";
import type * as svelteApi from "svelte";
import { expect, test, vi } from "vitest";
import * as vueRuntime from "vue";
import { compileScript, parse } from "vue/compiler-sfc";

import * as react from "../src/react.js";
import * as svelte from "../src/svelte.js";
import * as vue from "../src/vue.js";
import { settle } from "./clock.js";
import { answerJoin, posted, world, type World } from "./world.js";

const PAGE = readFileSync(join(import.meta.dirname, "../../docs/how-to/react-vue-svelte.md"), "utf8");

/** The example in a language. */
function example(language: string): string {
  const code = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "ms").exec(PAGE)?.[1];
  if (code === undefined) throw new Error(`no example in ${language}`);
  return code;
}

/** Run a module, with what it may import. */
function load(code: string, loader: "js" | "ts" | "tsx", modules: Record<string, unknown>): Record<string, unknown> {
  const { code: script } = transformSync(code, { loader, format: "cjs", jsx: "automatic", target: "es2022" });
  const exported = { exports: {} as Record<string, unknown> };
  const require = (name: string): unknown => modules[name] ?? {};
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- the documentation's own code
  new Function("require", "module", "exports", script)(require, exported, exported.exports);
  return exported.exports;
}

/** What each example does. `flush` takes a step and lets the framework render. */
async function tryOut({ server }: World, element: HTMLElement, flush: (step: () => unknown) => Promise<void>): Promise<() => Promise<void>> {
  const shown = (): string => element.textContent.replace(/\s+/g, " ").trim();
  const button = (): HTMLButtonElement => element.querySelector("button") ?? document.createElement("button");
  await flush(() => server.accept());
  const { socket } = server;
  const messages = [{ id: 1, author: "ada", body: "first" }];
  await flush(() => answerJoin(socket, { epoch: "k3", offset: 41, snapshot: { messages }, members: [{ id: "1", since: 1 }] }));
  await flush(() => socket.say(posted(42, { id: 2, author: "ada", body: "second" })));
  expect(shown()).toMatch(/^1 here ?first ?second ?Say hi$/);
  await flush(() => { button().click(); });
  const [call] = socket.of("call");
  expect(call).toMatchObject({ topic: "rooms/lobby", name: "post", payload: { body: "hi" } });
  expect(button().disabled).toBe(true);
  await flush(() => socket.say({ type: "error", ref: call?.ref, payload: { code: "refused", message: "Slow mode." } } as never));
  expect([button().disabled, shown()]).toEqual([false, expect.stringContaining("Slow mode.")]);
  return async () => {
    await settle();
    expect([element.textContent, socket.of("join").length, socket.of("leave").length]).toEqual(["", 1, 1]);
  };
}

test("React's example", async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  const around = world();
  const { Chat } = load(example("tsx"), "tsx", { "holdfast-client/react": react, "react/jsx-runtime": jsxRuntime });
  const element = document.body.appendChild(document.createElement("main"));
  const root = createRoot(element);
  const flush = (step: () => unknown) => act(async () => { await step(); await settle(); });
  const chat = createElement(Chat as FunctionComponent<{ name: string }>, { name: "rooms/lobby" });
  await flush(() => { root.render(createElement(react.LiveProvider, { live: around.live }, chat)); });
  const expectNothingLeft = await tryOut(around, element, flush);
  await flush(() => { root.unmount(); });
  await expectNothingLeft();
});

test("Vue's example", async () => {
  const around = world();
  const { content } = compileScript(parse(example("vue")).descriptor, { id: "chat", inlineTemplate: true });
  const { default: Chat } = load(content, "ts", { vue: vueRuntime, "holdfast-client/vue": vue });
  const app = vueRuntime.createApp(Chat as vueRuntime.Component, { name: "rooms/lobby" });
  vue.provideLive(around.live, app);
  const element = document.body.appendChild(document.createElement("main"));
  app.mount(element);
  const expectNothingLeft = await tryOut(around, element, async (step) => { await step(); await settle(); await vueRuntime.nextTick(); });
  app.unmount();
  await expectNothingLeft();
});

test("Svelte's example", async () => {
  const around = world();
  const { live } = around;
  const own: typeof svelte = { ...svelte, topicStore: (name, options) => svelte.topicStore(name, { ...options, live }) };
  const { code } = compile(example("svelte"), { generate: "client" }).js;
  // With its own runtime: under Node `svelte` is the half for servers.
  const bundled = buildSync({
    stdin: { contents: `${code}\nexport { flushSync, mount, unmount } from "svelte";`, resolveDir: import.meta.dirname },
    bundle: true,
    conditions: ["browser"],
    external: ["holdfast-client/svelte"],
    format: "esm",
    write: false,
  });
  const exported = load(bundled.outputFiles[0]?.text ?? "", "js", { "holdfast-client/svelte": own });
  const { default: Chat, ...runtime } = exported as typeof svelteApi & { readonly default: svelteApi.Component };
  const element = document.body.appendChild(document.createElement("main"));
  const app = runtime.mount(Chat, { target: element });
  const expectNothingLeft = await tryOut(around, element, async (step) => { await step(); await settle(); runtime.flushSync(); });
  await runtime.unmount(app);
  await expectNothingLeft();
});

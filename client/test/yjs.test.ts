/** The provider of Yjs: editors of one document, whatever happens to their connections. */

import { beforeEach, expect, test, vi } from "vitest";
import * as Y from "yjs";

import { fromBase64, toBase64 } from "../src/base64.js";
import { YjsProvider } from "../src/yjs.js";
import { settle } from "./clock.js";
import { PAD, PadServer } from "./pad.js";
import { reported } from "./quiet.js";
import { Random } from "./random.js";
import { answerJoin, world, type World } from "./world.js";

const RUNS = Number(process.env["HOLDFAST_RUNS"] ?? 100);
/** HOLDFAST_SEED=… repeats the run that a failure names. */
const SEED = process.env["HOLDFAST_SEED"];

beforeEach(() => {
  vi.spyOn(console, "warn").mockReturnValue(); // lines that are cut before the first welcome
});

/** Let the page have been rendered with this in the element of its cursor. */
function rendered(cursor: string): void {
  const element = { textContent: cursor };
  const querySelector = (selector: string) => (selector === `script[data-holdfast-cursor="${PAD}"]` ? element : null);
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible", querySelector }));
}

/** One page: its document, and what ties it to the server. */
function page(around: World, clientID = 1) {
  const doc = new Y.Doc();
  doc.clientID = clientID;
  const topic = around.live.lease(PAD);
  const provider = new YjsProvider(topic, doc, { clock: around.clock });
  return { ...around, topic, doc, provider, text: doc.getText("text"), notes: doc.getMap<number>("notes") };
}

type Page = ReturnType<typeof page>;

// ── 100 runs ─────────────────────────────────────────────────────────────────────────────────────

/** Write something: text anywhere, a deletion, and a note that is never deleted. */
function write({ doc, text, notes }: Page, random: Random, note: string): void {
  doc.transact(() => {
    const at = random.below(text.length + 1);
    if (random.chance(0.3)) text.delete(at, Math.min(random.below(5), text.length - at));
    else text.insert(at, random.chance(0.1) ? "🙂 long".repeat(random.below(200)) : note);
    notes.set(note, 1);
  });
}

async function run(seed: number): Promise<void> {
  const random = new Random(seed);
  const worlds = [0, 1, 2].map(() => world({ random: random.next, backoff: { base: 200, cap: 2_000 } }));
  const server = new PadServer(worlds.map((each) => each.server), random);
  const editor = (): number => random.below(2 ** 32);
  const pages = worlds.map((each) => page(each, editor()));
  const written: string[] = [];
  const copies: string[] = [];
  // A backup loses what only the server had; a reload loses what only the page had. Not both in one run.
  const restores = random.chance(0.3);
  const [leaves, returns] = [50 + random.below(100), 200 + random.below(50)];
  for (let step = 0; step < 300; step++) {
    if (step === leaves) await server.away(2);
    if (step === returns) server.back(2);
    const client = random.below(3);
    const here = pages[client];
    if (!here) continue;
    const dice = random.next();
    if (dice < 0.2) {
      written.push(`${client}:${step} `);
      write(here, random, `${client}:${step} `);
    } else if (dice < 0.23) await server.drop(client);
    else if (dice < 0.25) server.trim();
    else if (dice < 0.26 && restores) server.backUp();
    else if (dice < 0.27 && restores) await server.restore();
    else if (dice < 0.28 && !restores && !here.provider.state.unsent) {
      void here.provider.destroy();
      here.topic.leave();
      // It is loaded again, from the server with the document or from a cache with an older one.
      if (random.chance(0.8)) copies[client] = server.rendered();
      if (random.chance(0.7) && copies[client]) rendered(copies[client]);
      pages[client] = page(here, editor());
      vi.unstubAllGlobals();
    } else if (dice < 0.45) for (const { clock } of worlds) await clock.advance(random.below(300));
    else await server.step();
  }
  for (let calm = 0; calm < 150; calm++) {
    await server.drain();
    for (const { clock } of worlds) await clock.advance(calm < 100 ? 100 : 1_000); // the cursors of old pages go in a minute
  }
  const text = server.doc.getText("text").toJSON();
  for (const each of pages) {
    expect(each.provider.state).toEqual({ synced: true, unsent: false, error: undefined });
    expect(each.text.toJSON()).toBe(text);
    expect([...each.notes.keys()].sort()).toEqual([...written].sort());
    expect([...each.provider.awareness.getStates().keys()].sort()).toEqual(pages.map(({ doc }) => doc.clientID).sort());
  }
  for (const each of pages) await each.provider.destroy();
  for (const { live, clock } of worlds) {
    live.close();
    expect(clock.waiting).toBe(0);
  }
}

test("three editors, one of them offline for a while, end with the same text", async () => {
  const first = Math.floor(Math.random() * 2 ** 31);
  const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, index) => first + index) : [Number(SEED)];
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`HOLDFAST_SEED=${seed} repeats this`, { cause: error });
    }
  }
}, 120_000);

// ── one behaviour each ───────────────────────────────────────────────────────────────────────────

const EMPTY = { state: toBase64(Y.encodeStateAsUpdate(new Y.Doc())) };

/** A page with its document joined; `snapshot: undefined` for a join that continues. */
async function joined(answer: object = { snapshot: EMPTY }, prepare: (text: Y.Text) => void = () => undefined) {
  const here = page(world());
  prepare(here.text);
  const socket = await here.server.accept();
  await answerJoin(socket, { epoch: "k1", offset: 0, ...answer });
  await here.clock.advance(100);
  const calls = (name: string) => socket.of("call").filter((call) => call.name === name);
  /** Answer the newest call of an action. */
  const answerTo = async (name: string, what: object): Promise<void> => {
    await socket.say({ ref: calls(name).at(-1)?.ref, topic: PAD, ...what } as unknown as { type: string });
  };
  const refuse = async (name: string, payload: object): Promise<void> => answerTo(name, { type: "error", payload });
  return { ...here, socket, calls, answerTo, refuse };
}

/** A document with this text, as the server sends it. */
function written(text: string): string {
  const doc = new Y.Doc();
  doc.getText("text").insert(0, text);
  return toBase64(Y.encodeStateAsUpdate(doc));
}

const said = (call: { readonly payload?: Record<string, unknown> } | undefined): string => {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, fromBase64((call?.payload?.["data"] ?? "") as string));
  return doc.getText("text").toJSON();
};

test("a document begins with the server's state", async () => {
  const { text, provider } = await joined({ snapshot: { state: written("hello") } });
  await provider.whenSynced;
  expect(text.toJSON()).toBe("hello");
  expect(provider.synced).toBe(true);
  expect(provider.state.unsent).toBe(false);
});

test("what was written before the first join is sent after it", async () => {
  const { text, calls } = await joined({ snapshot: { state: written("hello") } }, (text) => { text.insert(0, "early "); });
  expect(text.toJSON()).toHaveLength("early hello".length);
  expect(said(calls("update")[0])).toBe("early ");
});

test("changes go out one call after the other, and together what was written in between", async () => {
  const { text, clock, calls, answerTo, provider } = await joined();
  text.insert(0, "a");
  await clock.advance(100);
  text.insert(1, "b");
  text.insert(2, "c");
  await clock.advance(1_000);
  expect(calls("update")).toHaveLength(1);
  expect(provider.state.unsent).toBe(true);
  await answerTo("update", { type: "result", payload: null });
  await clock.advance(100);
  expect(calls("update")).toHaveLength(2);
  await answerTo("update", { type: "result", payload: null });
  await clock.advance(100);
  expect(calls("update")).toHaveLength(2);
  expect(provider.state.unsent).toBe(false);
});

test("changes made while the connection is away are sent as one", async () => {
  const { text, clock, server, socket, provider } = await joined();
  await socket.drop();
  for (const letter of "offline") text.insert(text.length, letter);
  await clock.advance(60_000);
  const next = await server.accept();
  await answerJoin(next, { epoch: "k1", offset: 0, recovered: true });
  await clock.advance(100);
  expect(next.of("call").filter(({ name }) => name === "update").map(said)).toEqual(["offline"]);
  expect(provider.synced).toBe(true);
});

test("a join that continues from the page's position fetches the state first", async () => {
  const { text, clock, calls, answerTo } = await joined({ snapshot: undefined }, (text) => { text.insert(0, "early "); });
  expect([calls("state").length, calls("update").length]).toEqual([1, 0]);
  await answerTo("state", { type: "result", payload: written("hello") });
  await clock.advance(100);
  expect(text.toJSON()).toHaveLength("early hello".length);
  expect(calls("update")).toHaveLength(1);
});

const cursor = (offset: number, document: string): string => JSON.stringify({ epoch: "k1", offset, stamp: 7, document });

test("a page that came with the document has it at once, and goes on from there", async () => {
  rendered(cursor(4, written("hello")));
  const { text, clock, server, provider } = page(world());
  await provider.whenSynced;
  expect(text.toJSON()).toBe("hello");
  expect(provider.state).toEqual({ synced: true, unsent: false, error: undefined });
  text.insert(5, "!");
  const socket = await server.accept();
  expect(socket.of("join")[0]?.payload).toEqual({ since: { epoch: "k1", offset: 4, stamp: 7 } });
  await answerJoin(socket, { epoch: "k1", offset: 5, recovered: true });
  const data = written("They: ");
  await socket.say({ type: "event", topic: PAD, name: "document.updated", offset: 5, payload: { data } } as { type: string });
  await clock.advance(100);
  expect(text.toJSON()).toHaveLength("They: hello!".length);
  const calls = socket.of("call").filter(({ name }) => name !== "aware");
  expect(calls.map(({ name }) => name)).toEqual(["update"]);
});

test("a page whose document is too old merges with the one that the join brings", async () => {
  rendered(cursor(4, written("early ")));
  const { text, clock, server, provider } = page(world());
  const socket = await server.accept();
  await answerJoin(socket, { epoch: "k1", offset: 900, recovered: false, snapshot: { state: written("late ") } });
  await clock.advance(100);
  expect(text.toJSON()).toHaveLength("early late ".length);
  expect(provider.state).toMatchObject({ synced: true, unsent: true }); // the server lacks what it has forgotten
});

test("a document of another position than the topic's is left alone", () => {
  rendered(cursor(4, written("hello")));
  const { live, clock } = world();
  const topic = live.lease(PAD, { since: { epoch: "k1", offset: 9 } });
  const provider = new YjsProvider(topic, new Y.Doc(), { clock });
  expect(provider.synced).toBe(false);
  expect(provider.doc.getText("text").toJSON()).toBe("");
});

test("a document in the page that cannot be read is reported, and fetched", async () => {
  rendered(cursor(4, "////"));
  const { server, provider } = page(world());
  expect(reported.splice(0)).toHaveLength(1);
  expect(provider.synced).toBe(false);
  const socket = await server.accept();
  await answerJoin(socket, { epoch: "k1", offset: 4, recovered: true });
  expect(socket.of("call").map(({ name }) => name)).toContain("state");
});

test("a provider for a topic that is joined already fetches the state", async () => {
  const around = world();
  const topic = around.live.topic(PAD);
  const socket = await around.server.accept();
  await answerJoin(socket, { epoch: "k1", offset: 3, snapshot: EMPTY });
  const provider = new YjsProvider(topic, new Y.Doc(), { clock: around.clock });
  await settle();
  const call = socket.of("call").find(({ name }) => name === "state");
  await socket.say({ type: "result", ref: call?.ref, payload: written("hello") } as { type: string });
  await provider.whenSynced;
  expect(provider.doc.getText("text").toJSON()).toBe("hello");
});

test("a state that could not be fetched is fetched again", async () => {
  const { clock, calls, refuse, answerTo, provider } = await joined({ snapshot: undefined });
  await refuse("state", { code: "unavailable", message: "", retry_after: 2 });
  await clock.advance(10_000);
  expect(calls("state").length).toBe(2);
  await answerTo("state", { type: "result", payload: written("hello") });
  expect(provider.synced).toBe(true);
});

test("a long update is sent in parts", async () => {
  const { text, clock, calls, answerTo } = await joined();
  text.insert(0, "x".repeat(60_000));
  await clock.advance(100);
  for (let part = 1; part <= 2; part++) {
    expect(calls("part")).toHaveLength(part);
    expect(calls("update")).toHaveLength(0);
    await answerTo("part", { type: "result", payload: null });
  }
  const [last] = calls("update");
  const data = [...calls("part"), last].map((call) => call?.payload?.["data"] as string).join("");
  expect(said({ payload: { data } })).toBe("x".repeat(60_000));
  expect(new Set([...calls("part"), last].map((call) => call?.payload?.["upload"])).size).toBe(1);
  expect(calls("part").map((call) => call.payload?.["number"])).toEqual([0, 1]);
});

test("a change that the server refuses is told, stays, and goes out with the next one", async () => {
  const { text, clock, calls, refuse, answerTo, provider } = await joined();
  const heard = vi.fn();
  provider.subscribe(heard);
  text.insert(0, "too much");
  await clock.advance(100);
  await refuse("update", { code: "refused", reason: "document_full", message: "It is full." });
  expect(provider.state).toMatchObject({ unsent: true, error: { reason: "document_full" } });
  expect(heard).toHaveBeenCalled();
  await clock.advance(10_000);
  expect(calls("update")).toHaveLength(1);
  text.delete(0, 4);
  await clock.advance(5_000);
  await answerTo("state", { type: "result", payload: EMPTY.state });
  await clock.advance(100);
  expect(calls("update")).toHaveLength(2);
  expect(said(calls("update")[1])).toBe("much");
  await answerTo("update", { type: "result", payload: null });
  expect(provider.state).toEqual({ synced: true, unsent: false, error: undefined });
});

test("what did not fit and is deleted is not sent again, although undo still has it", async () => {
  const { text, clock, calls, refuse, answerTo, provider } = await joined();
  const undo = new Y.UndoManager(text);
  text.insert(0, "x".repeat(60_000));
  await clock.advance(100);
  await refuse("part", { code: "refused", reason: "document_full", message: "It is full." });
  text.delete(0, 60_000);
  text.insert(0, "short");
  await clock.advance(5_000);
  await answerTo("state", { type: "result", payload: EMPTY.state });
  await clock.advance(100);
  expect(calls("part")).toHaveLength(1);
  expect(said(calls("update")[0])).toBe("short");
  await answerTo("update", { type: "result", payload: null });
  expect(provider.state).toEqual({ synced: true, unsent: false, error: undefined });
  undo.undo();
  await clock.advance(100);
  expect(provider.state.unsent).toBe(true);
});

test("an upload that begins again replaces the one that was not finished", async () => {
  const { text, clock, calls, refuse, answerTo } = await joined();
  text.insert(0, "x".repeat(60_000));
  await clock.advance(100);
  await answerTo("part", { type: "result", payload: null });
  await refuse("part", { code: "rate_limited", message: "", retry_after: 2 });
  await clock.advance(2_000);
  const [first, , again] = calls("part");
  expect(first?.payload).not.toHaveProperty("replaces");
  expect(again?.payload).toMatchObject({ number: 0, replaces: first?.payload?.["upload"] });
  expect(again?.payload?.["upload"]).not.toBe(first?.payload?.["upload"]);
});

test("the end of a provider does not wait for a connection that goes away", async () => {
  const { text, clock, provider, refuse, socket } = await joined();
  text.insert(0, "last words");
  let over = false;
  void provider.destroy().then(() => (over = true));
  await clock.advance(0);
  await refuse("update", { code: "rate_limited", message: "", retry_after: 20 });
  await socket.drop();
  await clock.advance(60_000);
  expect(over).toBe(true);
});

test("a change that hits a limit is sent again after the time that the server asks for", async () => {
  const { text, clock, calls, refuse, provider } = await joined();
  text.insert(0, "fast");
  await clock.advance(100);
  await refuse("update", { code: "rate_limited", message: "", retry_after: 2 });
  await clock.advance(1_900);
  expect(calls("update")).toHaveLength(1);
  expect(provider.state.error).toBeUndefined();
  await clock.advance(200);
  expect(said(calls("update")[1])).toBe("fast");
});

test("where the server lacks what an update refers to, it gets all that it lacks", async () => {
  const { text, clock, calls, refuse, answerTo } = await joined({ snapshot: { state: written("hello") } });
  text.insert(5, "!");
  await clock.advance(100);
  await refuse("update", { code: "refused", reason: "behind", message: "" }); // it was restored from a backup
  await clock.advance(5_000);
  await answerTo("state", { type: "result", payload: EMPTY.state });
  await clock.advance(100);
  expect(said(calls("update")[1])).toBe("hello!");
});

test("an event that cannot be read is reported, and stops nothing", async () => {
  const { text, socket } = await joined();
  const event = { type: "event", topic: PAD, name: "document.updated" };
  await socket.say({ ...event, offset: 1, payload: { data: "////" } } as { type: string });
  await socket.say({ ...event, offset: 2, payload: { data: written("hello") } } as { type: string });
  expect(text.toJSON()).toBe("hello");
  expect(reported.splice(0)).toHaveLength(1);
});

test("the end of a provider waits until the last change is sent, and leaves no timer", async () => {
  const { text, clock, calls, answerTo, provider, topic, live, socket } = await joined();
  text.insert(0, "last words");
  let over = false;
  void provider.destroy().then(() => (over = true));
  await clock.advance(0);
  expect(said(calls("update")[0])).toBe("last words");
  expect(over).toBe(false);
  await answerTo("update", { type: "result", payload: null });
  await settle();
  expect(over).toBe(true);
  text.insert(0, "not sent: ");
  const data = written("not taken");
  await socket.say({ type: "event", topic: PAD, name: "document.updated", offset: 1, payload: { data } } as { type: string });
  await clock.advance(60_000);
  expect(calls("update")).toHaveLength(1);
  expect(text.toJSON()).toBe("not sent: last words");
  topic.leave();
  live.close();
  expect(clock.waiting).toBe(0);
});

test("the end of a document is that of its provider", async () => {
  const { doc, provider } = await joined();
  doc.destroy();
  await expect(provider.destroy()).resolves.toBeUndefined();
});

test("a topic that ends says why", async () => {
  const { socket, provider } = await joined();
  await socket.say({ type: "left", topic: PAD, payload: { code: "evicted", message: "" } } as { type: string });
  expect(provider.state.error).toMatchObject({ code: "evicted" });
});

// ── where the others are ─────────────────────────────────────────────────────────────────────────

const moved = (payload: object) => ({
  type: "event",
  topic: PAD,
  name: "editor.moved",
  payload: { client: 9, by: "~b", member: "7", user: { name: "grace" }, state: { cursor: 3 }, ask: false, ...payload },
});

test("cursors of others are shown with the name that the server gives, whatever their page says", async () => {
  const { socket, provider } = await joined();
  await socket.say(moved({ state: { cursor: 3, user: { name: "the admin", color: "red" } } }));
  expect(provider.awareness.getStates().get(9)).toEqual({ cursor: 3, user: { name: "grace", color: "red" } });
});

test("one client cannot move the cursor of another one", async () => {
  const { socket, provider, doc } = await joined();
  await socket.say(moved({}), moved({ by: "~c", state: { cursor: 5 } }), moved({ by: "~c", state: null }));
  await socket.say(moved({ client: doc.clientID }));
  expect(provider.awareness.getStates().get(9)).toMatchObject({ cursor: 3 });
  expect(provider.awareness.getLocalState()).toEqual({});
});

test("this page's state goes out at most ten times a second, and once a second to those who ask", async () => {
  const { clock, calls, provider, socket } = await joined();
  expect(calls("aware").map(({ payload }) => payload?.["ask"])).toEqual([true]);
  for (let at = 0; at < 50; at++) provider.awareness.setLocalStateField("cursor", at);
  await clock.advance(100);
  expect(calls("aware").at(-1)?.payload).toMatchObject({ state: { cursor: 49 }, ask: false });
  expect(calls("aware")).toHaveLength(2);
  for (let second = 1; second <= 3; second++) {
    for (let tenth = 0; tenth < 10; tenth++) {
      await socket.say(moved({ ask: true }));
      await clock.advance(100);
    }
    expect(calls("aware")).toHaveLength(2 + second);
  }
});

test("a move of the cursor does not wait for an answer that is due later", async () => {
  const { clock, calls, provider, socket } = await joined();
  await socket.say(moved({ ask: true }));
  await clock.advance(100);
  provider.awareness.setLocalStateField("cursor", 7);
  await clock.advance(100);
  expect(calls("aware").at(-1)?.payload).toMatchObject({ state: { cursor: 7 } });
});

test("a page that says nothing for long, and a member that left, are gone", async () => {
  const { clock, socket, provider } = await joined();
  const changes: unknown[] = [];
  provider.awareness.on("change", ({ added, removed }) => changes.push([added, removed]));
  await socket.say({ type: "presence", topic: PAD, payload: { members: [{ id: "7", since: 1 }, { id: "8", since: 1 }] } });
  await socket.say(moved({}), moved({ client: 10, member: "8", by: "~c" }));
  await socket.say({ type: "presence", topic: PAD, payload: { left: ["8"] } });
  expect([...provider.awareness.getStates().keys()]).not.toContain(10);
  expect([...provider.awareness.getStates().keys()]).toContain(9);
  await clock.advance(60_000);
  expect([...provider.awareness.getStates().keys()]).toEqual([provider.doc.clientID]);
  expect(changes).toEqual([[[9], []], [[10], []], [[], [10]], [[], [9]]]);
});

test("while the connection is away no cursor of others is shown", async () => {
  const { socket, provider } = await joined();
  await socket.say(moved({}));
  await socket.drop();
  expect([...provider.awareness.getStates().keys()]).toEqual([provider.doc.clientID]);
});

test("base64 carries any bytes", () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index % 256);
  expect(fromBase64(toBase64(bytes))).toEqual(bytes);
});

/** The persistent queue: what a page leaves behind, and what the next one does with it. */

import { getEventListeners } from "node:events";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { ConnectOptions } from "../src/index.js";
import { CallQueue, type CallQueueOptions, type RestoredCall } from "../src/queue.js";
import { settle } from "./clock.js";
import { MemoryStorage, Pages } from "./pages.js";
import { answerJoin, failure, inRoom, refuse, world, type World } from "./world.js";

const WELCOME = { user: "7" };
let pages: Pages;
let local: MemoryStorage;

beforeEach(() => {
  pages = new Pages();
  local = new MemoryStorage();
  vi.stubGlobal("navigator", { locks: pages.locks });
  vi.stubGlobal("localStorage", local);
  vi.stubGlobal("sessionStorage", local);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A page that is loaded, with its room and its queue. `load` again is what a reload does once the old page is gone. */
function load(options: Partial<CallQueueOptions> = {}, client: ConnectOptions = {}) {
  const around = world(client);
  const room = around.live.topic("rooms/lobby");
  const restored: RestoredCall[] = [];
  const queue = new CallQueue(around.live, { user: "7", storage: "local", restored: (call) => restored.push(call), ...options });
  return { ...around, room, queue, restored };
}

async function online({ server }: World, user: string | null = "7") {
  const socket = await server.accept({ ...WELCOME, user });
  await answerJoin(socket, { epoch: "k3", offset: 41 });
  return socket;
}

async function reload(options: Partial<CallQueueOptions> = {}) {
  pages.end();
  const page = load(options);
  await settle();
  return page;
}

test("a call that was written while the server was away is made after a reload, with its key", async () => {
  const before = load();
  void before.queue.call(before.room, "post", { body: "hi" });
  await settle();
  const [stored] = local.items("holdfast:call:");

  const after = await reload();
  expect(after.restored).toMatchObject([{ topic: "rooms/lobby", name: "post", payload: { body: "hi" } }]);
  const socket = await online(after);
  const [call] = socket.of("call");
  expect(call).toMatchObject({ topic: "rooms/lobby", name: "post", payload: { body: "hi" } });
  expect(stored).toBe(`holdfast:call:${call?.key ?? ""}`);
  await socket.say({ type: "result", ref: call?.ref ?? 0, payload: 913 });
  expect(await after.restored[0]?.result).toBe(913);
  expect(local.length).toBe(0);
});

test("a call that was sent and not answered has the same key on the next page", async () => {
  const before = load();
  const old = await online(before);
  void before.queue.call(before.room, "post", { body: "hi" });
  await settle();
  const after = await reload();
  const socket = await online(after);
  expect(socket.of("call")[0]?.key).toBe(old.of("call")[0]?.key);
});

test("an answered call leaves nothing behind, and one that was refused neither", async () => {
  const page = load();
  const socket = await online(page);
  const one = page.queue.call(page.room, "post", { body: "one" });
  const other = failure(page.queue.call(page.room, "post", { body: "other" }));
  await settle();
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 1 });
  await settle();
  await refuse(socket, "call", "refused", { reason: "closed" });
  expect(await one).toBe(1);
  expect(await other).toMatchObject({ code: "refused", reason: "closed" });
  expect(local.length).toBe(0);
});

test("the calls of one topic are made one after the other, beside those of another topic", async () => {
  const page = load();
  const other = page.live.topic("rooms/engine");
  const socket = await page.server.accept(WELCOME);
  for (const { ref = 0, topic = "" } of socket.of("join")) await socket.say({ type: "joined", ref, topic, payload: {} });
  for (const body of ["one", "two"]) void page.queue.call(page.room, "post", { body });
  void page.queue.call(other, "post", { body: "three" });
  await settle();
  const bodies = () => socket.of("call").map(({ payload }) => (payload as { body: string }).body);
  expect(bodies()).toEqual(["one", "three"]);
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 1 });
  await settle();
  expect(bodies()).toEqual(["one", "three", "two"]);
});

test("a call that hits a limit is made again with its key, before those written after it", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const page = load();
  const socket = await online(page);
  for (const body of ["one", "two"]) void page.queue.call(page.room, "post", { body });
  await settle();
  await refuse(socket, "call", "rate_limited", { retry_after: 3 });
  await settle();
  expect(socket.of("call").length).toBe(1);
  await vi.advanceTimersByTimeAsync(4_000);
  const [first, second] = socket.of("call");
  expect(second).toMatchObject({ key: first?.key, payload: { body: "one" } });
});

test("calls are not made for another user than the page was rendered for", async () => {
  const page = load();
  const call = failure(page.queue.call(page.room, "post", { body: "hi" }));
  const socket = await online(page, "8");
  expect(await call).toMatchObject({ code: "user_changed" });
  expect(socket.of("call")).toEqual([]);
  expect(local.length).toBe(0);
});

test("a page of another user does not get to see what was left", async () => {
  const before = load();
  void before.queue.call(before.room, "post", { body: "secret" });
  await settle();
  const after = await reload({ user: "8" });
  expect(after.restored).toEqual([]);
  expect(local.length).toBe(0);
});

test("a call that is older than a day is not made: the server has forgotten its key", async () => {
  const before = load();
  void before.queue.call(before.room, "post", { body: "hi" });
  await settle();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 86_400_001 });
  const after = await reload();
  expect(after.restored).toEqual([]);
  expect(local.length).toBe(0);
});

test("a call of an anonymous user that was sent ends as `outcome_unknown`, one that waited is made", async () => {
  const before = load({ user: null });
  await online(before, null);
  for (const body of ["sent", "waiting"]) void before.queue.call(before.room, "post", { body });
  await settle();
  const after = await reload({ user: null });
  const socket = await online(after, null);
  expect(await failure(after.restored[0]?.result ?? Promise.resolve())).toMatchObject({ code: "outcome_unknown" });
  expect(socket.of("call").map(({ payload }) => payload)).toEqual([{ body: "waiting" }]);
});

test("an anonymous call that waited for the connection counts as sent when the connection is there", async () => {
  const before = load({ user: null });
  const socket = await online(before, null);
  await socket.drop();
  void before.queue.call(before.room, "post", { body: "hi" });
  await before.clock.advance(30_000);
  await online(before, null);
  const after = await reload({ user: null });
  expect(await failure(after.restored[0]?.result ?? Promise.resolve())).toMatchObject({ code: "outcome_unknown" });
});

test("a tab does not make the calls of another one that lives, and takes them over when it is closed", async () => {
  const one = load();
  void one.queue.call(one.room, "post", { body: "hi" });
  const other = load();
  await settle();
  const socket = await online(other);
  expect(other.restored).toEqual([]);
  expect(socket.of("call")).toEqual([]);
  pages.end(0);
  await settle();
  expect(other.restored).toMatchObject([{ payload: { body: "hi" } }]);
  expect(socket.of("call")).toMatchObject([{ payload: { body: "hi" } }]);
});

test("of two tabs that wait for the end of a third one takes its calls", async () => {
  const gone = load();
  void gone.queue.call(gone.room, "post", { body: "hi" });
  const tabs = [load(), load()];
  pages.end(0);
  await settle();
  expect(tabs.flatMap(({ restored }) => restored).length).toBe(1);
});

test("a call goes on when the part of the page that wrote it leaves the topic", async () => {
  const { live, socket } = await inRoom({}, { epoch: "k3", offset: 41 });
  const queue = new CallQueue(live, { user: live.user ?? null });
  const lease = live.lease("rooms/lobby");
  const call = queue.call(lease, "post", { body: "hi" });
  await settle();
  lease.leave();
  await settle();
  const [first, second] = socket.of("call");
  expect(second).toMatchObject({ key: first?.key });
  await socket.say({ type: "result", ref: second?.ref ?? 0, payload: 913 });
  expect(await call).toBe(913);
});

test("what is left for a topic that the page is not in is made all the same, and the topic is left after it", async () => {
  const before = load();
  void before.queue.call(before.live.topic("rooms/engine"), "post", { body: "hi" });
  await settle();
  const after = await reload();
  const socket = await online(after);
  await settle();
  await answerJoin(socket, {});
  const [call] = socket.of("call");
  expect(call).toMatchObject({ topic: "rooms/engine" });
  await socket.say({ type: "result", ref: call?.ref ?? 0, payload: 1 });
  await settle();
  expect(socket.of("leave")).toMatchObject([{ topic: "rooms/engine" }]);
});

test("a session that ended leaves the calls waiting, until the client reconnects", async () => {
  const page = load();
  let socket = await online(page);
  const call = page.queue.call(page.room, "post", { body: "hi" });
  await settle();
  await socket.drop(4401);
  expect(page.live.status).toBe("closed");
  await settle();
  expect(local.length).toBe(1);
  page.live.reconnect();
  socket = await online(page);
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 913 });
  expect(await call).toBe(913);
});

test("`close()` rejects the calls and leaves them to the next page", async () => {
  const before = load();
  const call = failure(before.queue.call(before.room, "post", { body: "hi" }));
  before.live.close();
  expect(await call).toMatchObject({ code: "closed" });
  expect(await failure(before.queue.call(before.room, "post", {}))).toMatchObject({ code: "closed" });
  const after = load();
  await settle();
  expect(after.restored).toMatchObject([{ payload: { body: "hi" } }]);
});

test("an aborted call is taken out of the queue", async () => {
  const page = load();
  const abort = new AbortController();
  const call = failure(page.queue.call(page.room, "post", { body: "hi" }, { signal: abort.signal }));
  await settle();
  abort.abort(new Error("not any more"));
  expect((await call).message).toBe("not any more");
  expect(local.length).toBe(0);
  const socket = await online(page);
  expect(socket.of("call")).toEqual([]);
});

test("a signal that lives as long as the page keeps nothing of calls that are over", async () => {
  const page = load();
  const socket = await online(page);
  const { signal } = new AbortController();
  const call = page.queue.call(page.room, "post", { body: "hi" }, { signal });
  await settle();
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 1 });
  expect(await call).toBe(1);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a call that the closed client has left to the next page stays there, whatever becomes of its signal", async () => {
  const page = load();
  const abort = new AbortController();
  const call = failure(page.queue.call(page.room, "post", { body: "hi" }, { signal: abort.signal }));
  await settle();
  page.live.close();
  expect((await call).code).toBe("closed");
  abort.abort(); // the component that wrote it is taken down after the client
  const after = await reload();
  expect(after.restored).toMatchObject([{ name: "post", payload: { body: "hi" } }]);
});

test("a call for which the client has no place is kept, and made when there is one", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const page = load({}, { maxCalls: 1 });
  const direct = page.room.call("post", { body: "direct" });
  const queued = page.queue.call(page.room, "post", { body: "queued" });
  queued.catch(() => undefined);
  const socket = await online(page);
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 1 });
  expect(await direct).toBe(1);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(socket.of("call")[1]).toMatchObject({ payload: { body: "queued" } });
  await socket.say({ type: "result", ref: socket.of("call")[1]?.ref ?? 0, payload: 2 });
  expect(await queued).toBe(2);
});

test("a payload that JSON would change is rejected before it is kept", async () => {
  const page = load();
  const call = failure(page.queue.call(page.room, "post", { tags: new Set(["a"]) }));
  expect(await call).toMatchObject({ code: "invalid_payload", message: expect.stringContaining("`tags` is of type Set") as string });
  expect(local.length).toBe(0);
});

test.each(["full", "disabled"] as const)("a storage that is %s breaks nothing", async (how) => {
  if (how === "full") local.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
  else Object.defineProperty(globalThis, "localStorage", { configurable: true, get: () => { throw new DOMException("no", "SecurityError"); } });
  const page = load();
  const call = page.queue.call(page.room, "post", { body: "hi" });
  const socket = await online(page);
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref ?? 0, payload: 913 });
  expect(await call).toBe(913);
});

test("what cannot be read is removed, and what belongs to others stays", async () => {
  local.setItem("holdfast:call:q-1", "{");
  local.setItem("other", "{");
  load();
  await settle();
  expect(local.items("")).toEqual(["other"]);
});

test("without locks the calls of a user are taken over, which their keys allow; those of an anonymous one only from `session`", async () => {
  vi.stubGlobal("navigator", {});
  const restored = async (user: string | null, storage: "local" | "session"): Promise<number> => {
    local.clear();
    const before = load({ user, storage });
    void before.queue.call(before.room, "post", { body: "hi" });
    await settle();
    return (await reload({ user, storage })).restored.length;
  };
  expect(await restored("7", "local")).toBe(1);
  expect(await restored(null, "session")).toBe(1);
  expect(await restored(null, "local")).toBe(0);
});

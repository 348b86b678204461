// Tabs of one browser share a connection, and each hears what it would hear on its own.

import { expect, test, vi } from "vitest";

import type { Topic } from "../src/index.js";
import { groupOf } from "../src/tabs/key.js";
import { connect } from "../src/tabs.js";
import { ManualClock, settle } from "./clock.js";
import { FakeServer, type FakeSocket } from "./server.js";
import { SimulatedBrowser, type SimulatedTab, type TabOptions } from "./tabs.js";
import { answerJoin, posted, refuse, watch } from "./world.js";

const K3 = { epoch: "k3", offset: 41 };

class Desk {
  readonly clock = new ManualClock();
  readonly server = new FakeServer();
  readonly browser = new SimulatedBrowser(this.clock, this.server);

  get socket(): FakeSocket {
    return this.server.socket;
  }

  /** A tab that is in the room; the first one connects and joins on the wire. */
  async open(options: TabOptions = {}, since?: { readonly epoch: string; readonly offset: number }): Promise<Visit> {
    const before = this.server.sockets.length;
    const tab = this.browser.open(options);
    const room = tab.live.topic("rooms/lobby", { since });
    const watched = watch(room);
    await this.clock.advance(0);
    await waitFor(() => tab.told.some((what) => what.includes(" connection")));
    if (this.server.sockets.length > before) await this.server.accept();
    await this.clock.advance(0);
    return { tab, room, ...watched };
  }

  /** Two tabs in the room, at offset 41. */
  async two(joined: object = K3): Promise<[Visit, Visit]> {
    const one = await this.open();
    await answerJoin(this.socket, joined);
    const other = await this.open();
    return [one, other];
  }
}

interface Visit {
  readonly tab: SimulatedTab;
  readonly room: Topic;
  readonly seen: unknown[];
  readonly story: string[];
}

async function waitFor(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 50 && !condition(); turn++) await settle();
}

const joins = (socket: FakeSocket) => socket.of("join").length;

test("two tabs have one connection and one join, and each hears each event once", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  await desk.socket.say(posted(42), posted(43));
  expect([desk.server.sockets.length, joins(desk.socket)]).toEqual([1, 1]);
  expect([one.seen, other.seen, other.story]).toEqual([[42, 43], [42, 43], ["joined"]]);
  expect([one.tab.live.user, other.tab.live.user, other.room.position]).toEqual(["7", "7", { epoch: "k3", offset: 43 }]);
});

test("a tab that comes later gets what it has missed without a word to the server", async () => {
  const desk = new Desk();
  const [one] = await desk.two();
  await desk.socket.say(posted(42), posted(43));
  const late = await desk.open({}, { epoch: "k3", offset: 42 });
  await desk.socket.say(posted(44));
  expect([late.seen, late.story, one.seen, joins(desk.socket)]).toEqual([[43, 44], ["joined"], [42, 43, 44], 1]);
});

test("from before what is kept, the topic is joined again, and the others hear nothing twice", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  await desk.socket.say(posted(42));
  const late = await desk.open({}, { epoch: "k3", offset: 39 });
  expect(desk.socket.look().map(({ type }) => type)).toEqual(["join", "leave", "join"]);
  await answerJoin(desk.socket, { epoch: "k3", offset: 42, recovered: true });
  await desk.socket.say(posted(40), posted(41), posted(42), posted(43));
  expect([late.seen, one.seen, other.seen]).toEqual([[40, 41, 42, 43], [42, 43], [42, 43]]);
});

test("where a tab's position is too old, only that tab misses something", async () => {
  const desk = new Desk();
  const [one] = await desk.two();
  await desk.socket.say(posted(42));
  const late = await desk.open({}, { epoch: "k2", offset: 3 });
  await answerJoin(desk.socket, { epoch: "k3", offset: 44, recovered: false });
  // The stream begins beyond where the others are: it is joined once more from there.
  await desk.socket.say(posted(45));
  expect(desk.socket.of("join").at(-1)?.payload?.["since"]).toEqual({ epoch: "k3", offset: 42 });
  await answerJoin(desk.socket, { epoch: "k3", offset: 45, recovered: true });
  await desk.socket.say(posted(43), posted(44), posted(45), posted(46));
  expect([late.story, late.seen, one.story, one.seen]).toEqual([["joined, not recovered"], [45, 46], ["joined"], [42, 43, 44, 45, 46]]);
});

test("a snapshot and what followed it are given to a tab that comes later", async () => {
  const desk = new Desk();
  await desk.two({ ...K3, snapshot: { title: "Lobby" } });
  await desk.socket.say(posted(42));
  const tab = desk.browser.open();
  const room = tab.live.topic("rooms/lobby");
  const found: unknown[] = [];
  room.lifecycle.on("joined", ({ snapshot, position }) => found.push([snapshot, position?.offset]));
  room.on("*", (payload) => found.push(payload));
  await waitFor(() => found.length === 2);
  expect([found, joins(desk.socket)]).toEqual([[[{ title: "Lobby" }, 41], 42], 1]);
});

test("presence: a tab that comes later knows who is here, and all hear of changes", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two({ ...K3, members: [{ id: "7", since: 1 }] });
  await desk.socket.say({ type: "presence", topic: "rooms/lobby", payload: { joined: [{ id: "9", since: 2 }] } } as never);
  const late = await desk.open();
  for (const { room } of [one, other, late]) expect(room.presence.members.map(({ id }) => id)).toEqual(["7", "9"]);
});

test("a tab that leaves takes no other with it, and the last one leaves on the wire", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  one.room.leave();
  await settle();
  await desk.socket.say(posted(42));
  expect([one.seen, other.seen, desk.socket.of("leave").length]).toEqual([[], [42], 0]);
  other.room.leave();
  await waitFor(() => desk.socket.of("leave").length > 0);
  expect(desk.socket.of("leave")).toHaveLength(1);
});

test("answers go to the tab that has called, and a topic of another tab is not joined", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  const calls = [one.room.call("post", { n: 1 }), other.room.call("post", { n: 2 })];
  await settle();
  const [first, second] = desk.socket.of("call");
  expect(first?.ref).not.toBe(second?.ref);
  expect(first?.key).not.toBe(second?.key);
  await desk.socket.say({ type: "result", ref: second?.ref, payload: "two" } as never, { type: "result", ref: first?.ref, payload: "one" } as never);
  expect(await Promise.all(calls)).toEqual(["one", "two"]);
});

test("one tab takes three quarters of the places for calls, and the others the rest", async () => {
  const desk = new Desk();
  const one = await desk.open();
  await answerJoin(desk.socket, K3);
  const other = await desk.open();
  for (let n = 0; n < 40; n++) void one.room.call("think", { n }).catch(() => undefined);
  await settle();
  expect(desk.socket.of("call")).toHaveLength(24);
  void other.room.call("post").catch(() => undefined);
  await settle();
  expect(desk.socket.of("call").at(-1)?.name).toBe("post");
});

test("a tab that sends far too much is refused here, and a call of another one that the server refused for it is made again", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  const errors: string[] = [];
  one.tab.live.on("error", ({ code }) => errors.push(code));
  for (let n = 0; n < 1_000; n++) one.room.send("move", { n });
  await settle();
  expect([desk.socket.of("call").length, errors.length]).toEqual([119, 881]);
  const call = other.room.call("post");
  await settle();
  await refuse(desk.socket, "call", "rate_limited", { retry_after: 0.5 });
  await desk.clock.advance(600);
  const again = desk.socket.of("call").slice(-2);
  expect(again[0]?.key).toBe(again[1]?.key);
  await desk.socket.say({ type: "result", ref: again[1]?.ref, payload: 1 } as never);
  expect(await call).toBe(1);
});

test("calls that the server refused for another tab are made again in their order", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  for (let n = 0; n < 1_000; n++) one.room.send("move", { n });
  await settle();
  for (const n of [1, 2, 3]) void other.room.call("post", { n }).catch(() => undefined);
  await settle();
  for (const index of [-3, -2, -1]) await refuse(desk.socket, "call", "rate_limited", { retry_after: 0.5 }, index);
  void other.room.call("post", { n: 4 }).catch(() => undefined);
  await desk.clock.advance(600);
  expect(desk.socket.of("call").slice(-4).map(({ payload }) => payload)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
});

test("a connection that ends means to each tab what it would mean alone", async () => {
  for (const [code, status] of [[4000, "waiting"], [4403, "closed"], [1006, "waiting"]] as const) {
    const desk = new Desk();
    const tabs = await desk.two();
    await desk.socket.drop(code);
    for (const { tab } of tabs) expect([code, tab.live.status]).toEqual([code, status]);
  }
});

test("a goodbye reaches each tab with its time and its word", async () => {
  const desk = new Desk();
  const tabs = await desk.two();
  await desk.socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 7 } } as never);
  await desk.socket.drop(4000);
  for (const { tab } of tabs) expect(tab.live.state).toMatchObject({ status: "waiting", retryIn: 7_000 });
});

test("a token that has become invalid ends its own tab only", async () => {
  const desk = new Desk();
  const options = { options: { token: "t" } };
  const one = await desk.open(options);
  await answerJoin(desk.socket, K3);
  const other = await desk.open(options);
  await desk.socket.say({ type: "goodbye", payload: { code: "unauthenticated", reconnect: false } } as never);
  await desk.socket.drop(4401);
  expect([one.tab.live.status, other.tab.live.status]).toEqual(["closed", "waiting"]);
});

test("a message that is too large for a proxy is laid to the tab that sent it", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  void one.room.call("post", { body: "x".repeat(9_999) }).catch(() => undefined);
  void other.room.call("post", { body: "x" }).catch(() => undefined);
  await settle();
  await desk.socket.drop(1009);
  expect([one, other].map(({ tab }) => tab.live.state.error?.code)).toEqual(["too_large", "connection_lost"]);
});

test("a tab for which the shared connection has no place for a topic takes one of its own", async () => {
  const desk = new Desk();
  const [, other] = await desk.two();
  const more = other.tab.live.topic("rooms/captains");
  await waitFor(() => joins(desk.socket) === 2);
  await refuse(desk.socket, "join", "too_many_topics");
  await desk.clock.advance(1_000);
  await desk.server.accept();
  expect(desk.server.sockets).toHaveLength(2);
  expect(desk.socket.of("join").map(({ topic }) => topic)).toEqual(["rooms/lobby", "rooms/captains"]);
  expect(more.status).toBe("joining");
  expect(desk.server.sockets[0]?.closedWith).toBeUndefined();
});

test("the next leader is the same client to the server, so that an anonymous call is not made twice", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  void other.room.call("post").catch(() => undefined);
  await settle();
  const [first] = desk.server.sockets;
  await one.tab.crash();
  await desk.clock.advance(1_000);
  const second = await desk.server.accept();
  await answerJoin(second, { ...K3, recovered: true });
  expect(second.sent[0]?.payload?.["client"]).toBe(first?.sent[0]?.payload?.["client"]);
  expect(second.of("call")[0]?.key).toBe(first?.of("call")[0]?.key);
  expect(desk.browser.tabs[1]?.leads).toBe(true);
});

test.each([
  ["is closed", 1_000, async (tab: SimulatedTab) => tab.shut()],
  ["crashes", 1_000, async (tab: SimulatedTab) => tab.crash()],
  ["is frozen with a word", 1_000, async (tab: SimulatedTab) => tab.freeze(true)],
  ["hangs", 30_000, async (tab: SimulatedTab) => tab.freeze(false)],
])("another tab takes over when the leader %s", async (_, most, end) => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  await end(one.tab);
  await desk.clock.advance(most);
  expect([desk.server.sockets.length, other.tab.leads]).toEqual([2, true]);
  await desk.server.accept();
  await answerJoin(desk.socket, { epoch: "k3", offset: 42, recovered: true });
  await desk.socket.say(posted(42));
  await one.tab.thaw(); // it finds that it leads no longer
  await desk.clock.advance(2_000);
  expect(other.seen).toEqual([42]);
  if (!one.tab.crashed) expect([one.seen, one.tab.live.status, one.tab.leads]).toEqual([[42], "online", false]);
  expect(desk.server.sockets).toHaveLength(2);
  expect(desk.server.sockets[0]?.closedWith).toBeDefined();
});

test("a tab that does not read is cut off, and goes on later from where it was", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  await other.tab.freeze(false);
  for (let offset = 42; offset < 5_042; offset++) await desk.socket.say(posted(offset));
  expect(one.seen).toHaveLength(5_000);
  expect(other.tab.waiting).toBeLessThan(4_100);
  await other.tab.thaw();
  await desk.clock.advance(2_000);
  await answerJoin(desk.socket, { epoch: "k3", offset: 5_041, recovered: true });
  for (let offset = other.room.position?.offset ?? 0; offset < 5_041; ) await desk.socket.say(posted(++offset));
  expect(other.seen).toEqual(one.seen);
}, 20_000);

test("what a tab has not read is bounded by its size too", async () => {
  const desk = new Desk();
  const [, other] = await desk.two();
  await other.tab.freeze(false);
  for (let offset = 42; offset < 142; offset++) await desk.socket.say(posted(offset, "x".repeat(100_000)));
  expect(other.tab.waiting).toBeLessThan(50);
});

test("a topic that only a tab had which has crashed is left, and no other", async () => {
  const desk = new Desk();
  const [one, other] = await desk.two();
  other.tab.live.topic("rooms/captains");
  await waitFor(() => joins(desk.socket) === 2);
  await answerJoin(desk.socket, K3);
  await other.tab.crash();
  await waitFor(() => desk.socket.of("leave").length > 0);
  expect(desk.socket.of("leave").map(({ topic }) => topic)).toEqual(["rooms/captains"]);
  expect([one.room.status, desk.server.sockets.length]).toEqual(["joined", 1]);
});

test("only tabs with the same owner share", async () => {
  const desk = new Desk();
  await desk.open({ identity: "ada" });
  await desk.open({ identity: "grace" });
  await desk.open({ identity: "ada", options: { token: "t" } });
  expect(desk.server.sockets).toHaveLength(3);
});

test("a group has one address, one owner, and no readable token in its name", async () => {
  const tab = { url: "ws://server/", protocols: ["holdfast.v1.json"], token: undefined };
  const none = { identity: undefined, transports: undefined };
  const page = (tabs?: string): void => {
    const textContent = JSON.stringify({ url: "/live/ws", tabs });
    // Turbo leaves the config of the page before in the head.
    const before = { textContent: JSON.stringify({ tabs: "of the page before" }) };
    vi.stubGlobal("document", { querySelectorAll: () => [before, { textContent }] });
  };
  page();
  expect(await groupOf(none, tab)).toBeUndefined();
  page("a1");
  const ada = await groupOf(none, tab);
  expect(ada).toBe(await groupOf(none, tab));
  page("b2");
  const names = [
    ada,
    await groupOf(none, tab),
    await groupOf(none, { ...tab, url: "ws://server/?versions=order:2" }),
    await groupOf(none, { ...tab, token: "secret" }),
    await groupOf(none, { ...tab, token: "secreu" }),
    await groupOf({ ...none, identity: "b2" }, tab),
    await groupOf({ ...none, identity: async () => Promise.resolve("c3") }, { ...tab, token: "secret" }),
    await groupOf({ ...none, transports: ["sse"] }, tab),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(names.join()).not.toContain("secret");
});

test("without a page it is an ordinary client, and says so to those who ask", async () => {
  const told = vi.spyOn(console, "debug").mockReturnValue(undefined);
  const server = new FakeServer();
  const live = connect({ url: "ws://server/", WebSocket: server.WebSocket, transports: ["websocket"], debug: true });
  live.topic("rooms/lobby");
  await vi.waitFor(() => { expect(server.sockets).toHaveLength(1); });
  expect(told.mock.calls.flat()).toContain("Holdfast tabs: a connection of its own: this is no page");
  live.close();
});

test("what debug mode tells has no token in it", async () => {
  const desk = new Desk();
  const { tab } = await desk.open({ options: { token: "secret" } });
  expect(tab.told.join()).toContain('"token":"…"');
  expect(tab.told.join()).not.toContain("secret");
});

test("connections that are silent until the client gives them up count as failures, so that another transport is tried", async () => {
  const desk = new Desk();
  const tab = desk.browser.open();
  tab.live.topic("rooms/lobby");
  for (let seconds = 0; seconds < 60; seconds++) await desk.clock.advance(1_000);
  expect(tab.failures.slice(0, 4)).toEqual([0, 1, 2, 3]);
  tab.live.close();
});

// @vitest-environment happy-dom
// Stores of `holdfast-client/svelte`, with the stores of Svelte 4 and 5 and a compiled component, against the simulated server.

import { createRequire } from "node:module";

import { expect, test } from "vitest";
import * as svelte5 from "svelte/store";

import { calls, events, presence, status, topicStore } from "../src/svelte.js";
import { settle } from "./clock.js";
import type { FakeSocket } from "./server.js";
import { answerJoin, posted, refuse, world } from "./world.js";

const svelte4 = createRequire(import.meta.url)("svelte-4/store") as typeof svelte5;
const { get } = svelte5;

const AT_41 = { epoch: "k3", offset: 41 };

interface Room {
  events: { "message.posted": number };
  actions: { post(payload: { body: string }): number };
  snapshot: number[];
}

function traffic(socket: FakeSocket): string[] {
  return socket.look().map(({ type, topic }) => `${type} ${topic ?? ""}`);
}

const add = (list: readonly number[], { payload }: { readonly payload: unknown }) => [...list, payload as number];

test("a store opens nothing; its first subscriber joins, its last one leaves", async () => {
  const { live, server } = world();
  const room = topicStore<Room>("rooms/lobby", { live });
  await settle();
  expect(server.sockets).toEqual([]);
  const seen: string[] = [];
  const off = room.subscribe((now) => seen.push(now.status));
  const other = room.subscribe(() => undefined);
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  off();
  await settle();
  expect(seen).toEqual(["joining", "joined"]);
  expect(traffic(socket)).toEqual(["join rooms/lobby"]);
  other();
  await settle();
  expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
});

test("a subscriber of events that unsubscribes twice takes the events from no other one", async () => {
  const { live, server } = world();
  const messages = events<readonly number[], Room>(topicStore<Room>("rooms/lobby", { live }), add, { initial: [] });
  const off = messages.subscribe(() => undefined);
  let seen: readonly number[] = [];
  messages.subscribe((now) => { seen = now; });
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  off();
  off();
  await socket.say(posted(42));
  expect(seen.length).toBe(1);
});

test("a subscriber that goes and comes in one turn leaves no trace", async () => {
  const { live, server } = world();
  const room = topicStore<Room>("rooms/lobby", { live });
  const off = room.subscribe(() => undefined);
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  off();
  room.subscribe(() => undefined);
  await settle();
  expect(traffic(socket)).toEqual(["join rooms/lobby"]);
});

test("events are folded, with the snapshot first, and can be assigned to", async () => {
  const { live, server } = world();
  const room = topicStore<Room>("rooms/lobby", { live });
  const messages = events(room, add, { initial: [], snapshot: (snapshot: number[]) => snapshot });
  const seen: string[] = [];
  const off = messages.subscribe((list) => seen.push(list.join()));
  const socket = await server.accept();
  await answerJoin(socket, { ...AT_41, snapshot: [1] });
  await socket.say(posted(42, 2));
  messages.update((list) => [0, ...list]);
  messages.set([9]);
  off();
  await settle();
  expect(seen).toEqual(["", "1", "1,2", "0,1,2", "9"]);
  expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
});

test("a fold goes on after a time without subscribers, and says so if it missed something", async () => {
  const { live, server } = world();
  const messages = events("rooms/lobby", add, { initial: [] as readonly number[], missed: (list) => [...list, -1], live });
  const watch = () => messages.subscribe(() => undefined);
  let off = watch();
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  await socket.say(posted(42, 1));
  const other = live.lease("rooms/lobby"); // holds the topic
  await settle();
  off();
  await settle();
  off = watch();
  await settle();
  await socket.say(posted(43, 2));
  expect(get(messages)).toEqual([1, 2]); // nothing came while it was away
  off();
  await settle();
  await socket.say(posted(44, 3));
  off = watch();
  await settle();
  expect(get(messages)).toEqual([1, 2, -1]);
  off();
  other.leave();
});

test("presence, status, handlers and calls", async () => {
  const { live, server } = world();
  const room = topicStore<Room>("rooms/lobby", { live });
  const post = calls(room, "post");
  const seen: unknown[] = [];
  const [members, connection] = [presence(room), status(live)];
  const offs = [members.subscribe(() => undefined), connection.subscribe(() => undefined), post.subscribe(() => undefined)];
  const off = room.on("message.posted", (payload) => seen.push(payload));
  const socket = await server.accept();
  await answerJoin(socket, { ...AT_41, members: [{ id: "1", since: 1 }] });
  await socket.say(posted(42, 7));
  off();
  await socket.say(posted(43, 8));
  expect([get(members).count, get(connection).status, seen]).toEqual([1, "online", [7]]);
  void post.call({ body: "hi" });
  expect(get(post).pending).toBe(true);
  await settle();
  await refuse(socket, "call", "refused");
  expect(get(post)).toMatchObject({ pending: false, error: { code: "refused" } });
  post.reset();
  expect(get(post).error).toBeUndefined();
  for (const each of offs) each();
  await settle();
  expect(traffic(socket)).toEqual(["join rooms/lobby", "call rooms/lobby", "leave rooms/lobby"]);
});

test.each([svelte4, svelte5])("stores of Svelte 4 and 5 derive from them", (svelte) => {
  const { live } = world();
  const upper = svelte.derived(topicStore("rooms/lobby", { live }), (room) => room.status.toUpperCase());
  expect(svelte.get(upper)).toBe("JOINING");
});

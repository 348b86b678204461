// Handlers may do anything: the client has finished its own work when it calls them.

import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, failure, inRoom, posted, refuse, watch, world } from "./world.js";

const evicted = { type: "left", topic: "rooms/lobby", payload: { code: "evicted", message: "out" } };

test("a left handler that joins again is called once for one eviction, and the new topic lives", async () => {
  const { live, room, socket } = await inRoom();
  const topics = [room];
  const again = (): void => {
    if (topics.length > 100) throw new Error("called without end");
    const topic = live.topic("rooms/lobby");
    topic.lifecycle.on("left", again);
    topics.push(topic);
  };
  room.lifecycle.on("left", again);
  await socket.say(evicted);
  expect(topics.map(({ status }) => status)).toEqual(["left", "joining"]);
  await answerJoin(socket, { epoch: "k3", offset: 41, recovered: true });
  expect(topics[1]?.status).toBe("joined");
});

test("a refused handler that asks for the topic again waits for an answer of its own", async () => {
  const { live, server } = world();
  const topics = [live.topic("rooms/captains")];
  topics[0]?.lifecycle.on("refused", () => topics.push(live.topic("rooms/captains")));
  const socket = await server.accept();
  await refuse(socket, "join", "forbidden");
  expect(topics.map(({ status }) => status)).toEqual(["refused", "joining"]);
  expect(socket.of("join")).toHaveLength(2);
});

test("a topic asked for in a handler of an event does not get that event", async () => {
  const { live, room, socket } = await inRoom();
  const seen: unknown[] = [];
  room.on("message.posted", () => {
    if (!seen.length) live.lease("rooms/lobby").on("message.posted", (payload) => seen.push(payload));
  });
  await socket.say(posted(42));
  expect(seen).toEqual([]);
  await socket.say(posted(43));
  expect(seen).toEqual([43]);
});

test("after leave() in a handler no other handler of the topic is called", async () => {
  const { room, socket } = await inRoom({}, { epoch: "k3", offset: 41, members: [] });
  const story: string[] = [];
  room.presence.on("joined", () => {
    story.push("joined");
    room.leave();
  });
  room.presence.on("joined", () => story.push("and told again"));
  room.lifecycle.on("left", () => story.push("left"));
  await socket.say({ type: "presence", topic: "rooms/lobby", payload: { joined: [{ id: "1", since: 1 }] } } as never);
  expect(story).toEqual(["joined", "left"]);
});

test("leave() in a joined handler ends the topic for the handlers after it", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  room.lifecycle.on("joined", room.leave);
  const { story } = watch(room);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 1 });
  expect(story).toEqual(["left"]);
});

test("close() in a handler ends everything, and nothing more is handled", async () => {
  const { live, room, socket, clock } = await inRoom();
  const calls: string[] = [];
  room.on("message.posted", () => {
    calls.push("first");
    live.close();
  });
  room.on("message.posted", () => calls.push("second"));
  await socket.say(posted(42), posted(43));
  expect(calls).toEqual(["first"]);
  expect(clock.waiting).toBe(0);
});

test("close() when told that a topic is away leaves no wait behind", async () => {
  const { live, room, socket, server, clock } = await inRoom();
  room.subscribe(live.close);
  await socket.drop();
  expect(live.status).toBe("closed");
  expect(clock.waiting).toBe(0);
  expect(server.sockets).toHaveLength(1);
});

test("reconnect() when told that a topic is away makes one attempt, and no second one follows", async () => {
  const { live, room, socket, server, clock } = await inRoom();
  let told = 0;
  room.subscribe(() => {
    if (room.status === "joining" && !told++) live.reconnect();
  });
  await socket.drop();
  expect(server.sockets).toHaveLength(2);
  await clock.advance(1_000);
  expect(server.sockets).toHaveLength(2);
});

test("statuses are told in the order in which they came, also when a handler brings the next one about", async () => {
  const { live, socket } = await inRoom();
  const told: string[] = [];
  live.on("status", (status) => {
    if (status === "waiting") live.reconnect();
  });
  live.on("status", (status) => told.push(status));
  await socket.drop();
  expect(told).toEqual(["waiting", "connecting"]);
});

test("a handler removed by another one is not called any more", async () => {
  const { room, socket } = await inRoom();
  const calls: string[] = [];
  room.on("message.posted", () => {
    calls.push("first");
    off();
  });
  const off = room.on("message.posted", () => calls.push("second"));
  await socket.say(posted(42));
  expect(calls).toEqual(["first"]);
});

test("a signal removes handlers, of topics, presence and the client", async () => {
  const { live, room, socket } = await inRoom({}, { epoch: "k3", offset: 41, members: [] });
  const controller = new AbortController();
  const { signal } = controller;
  const calls: string[] = [];
  room.on("message.posted", () => calls.push("event"), { signal });
  room.on("*", () => calls.push("any"), { signal });
  room.lifecycle.on("left", () => calls.push("left"), { signal });
  room.presence.on("change", () => calls.push("change"), { signal });
  live.on("status", () => calls.push("status"), { signal });
  controller.abort();
  room.on("message.posted", () => calls.push("too late"), { signal });
  await socket.say(posted(42));
  room.leave();
  await socket.drop();
  expect(calls).toEqual([]);
});

test("a signal that lives longer than the topic keeps nothing of it", async () => {
  const { room } = await inRoom();
  const { signal } = new AbortController();
  const listening = new Set<unknown>();
  signal.addEventListener = (_: string, listener: unknown) => void listening.add(listener);
  signal.removeEventListener = (_: string, listener: unknown) => void listening.delete(listener);
  room.on("message.posted", () => undefined, { signal });
  room.lifecycle.on("left", () => undefined, { signal });
  room.presence.on("change", () => undefined, { signal });
  expect(listening.size).toBe(3);
  room.leave();
  expect(listening.size).toBe(0);
});

test("each handler has a payload of its own", async () => {
  const { live, room, socket } = await inRoom();
  const heard: unknown[] = [];
  const spoil = (payload: unknown): void => {
    const tags = (payload as { tags: string[] }).tags;
    heard.push([...tags]);
    tags.push("spoilt");
  };
  room.on("message.posted", spoil);
  room.on("message.posted", spoil);
  room.on("*", (_, info) => {
    spoil(info.payload);
  });
  live.lease("rooms/lobby").on("message.posted", spoil);
  await socket.say(posted(42, { tags: ["new"] }));
  expect(heard).toEqual([["new"], ["new"], ["new"], ["new"]]);
});

test("a call made in a status handler waits for the connection and is made once", async () => {
  const { live, room, socket, server, clock } = await inRoom();
  let call: Promise<unknown> | undefined;
  live.on("status", (status) => {
    if (status === "waiting") call = room.call("post");
  });
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 41, recovered: true });
  expect(server.socket.of("call")).toHaveLength(1);
  live.close();
  expect((await failure(call ?? Promise.resolve())).code).toBe("closed");
  await settle();
});

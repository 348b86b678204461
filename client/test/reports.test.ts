// Failures that users of other real-time clients reported, tried on this one.

import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, inRoom, nextAttempt, posted, watch, world } from "./world.js";

const at = (offset: number) => ({ since: { epoch: "k3", offset } });
const recovered = { epoch: "k3", offset: 99, recovered: true };

test("a handler that leaves and joins again gets no event twice (centrifuge-dart#142)", async () => {
  const around = await inRoom();
  const { live, room, socket, server } = around;
  const seen: unknown[] = [];
  const again: unknown[] = [];
  room.on("message.posted", (payload) => {
    seen.push(payload);
    room.leave();
    live.topic("rooms/lobby").on("*", (payload) => again.push(payload));
  });
  await socket.say(posted(42), posted(43));
  expect([seen, again]).toEqual([[42], [43]]);
  await socket.drop();
  await nextAttempt(around);
  await server.accept();
  expect(server.socket.of("join")[0]?.payload).toEqual(at(43));
});

test("a handler that leaves, and joins again after the server has heard of it, gets no event twice", async () => {
  const { live, room, socket } = await inRoom();
  const seen: unknown[] = [];
  room.on("message.posted", (payload) => {
    seen.push(payload);
    room.leave();
  });
  await socket.say(posted(42), posted(43));
  const again = watch(live.topic("rooms/lobby"));
  await socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  expect(socket.of("join").at(-1)?.payload).toEqual(at(42));
  await answerJoin(socket, recovered);
  await socket.say(posted(43));
  expect([seen, again.seen]).toEqual([[42], [43]]);
});

test("an event that came while no part of the page had the topic is not passed over", async () => {
  const { live, room, socket } = await inRoom();
  room.on("message.posted", () => {
    room.leave();
  });
  // Implementations of WebSocket for Node hand on several messages in one turn.
  const saying = socket.say(posted(42), posted(43));
  const again = watch(live.topic("rooms/lobby"));
  await saying;
  await socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  expect(socket.of("join").at(-1)?.payload).toEqual(at(42));
  await answerJoin(socket, recovered);
  await socket.say(posted(43));
  expect(again.seen).toEqual([43]);
});

test("a handler that replaces the connection during a recovery gets each event once (centrifuge-go#150)", async () => {
  const around = await inRoom();
  const { live, room, server, seen } = around;
  await around.socket.drop();
  await nextAttempt(around);
  const first = await server.accept();
  room.lifecycle.on("joined", () => {
    if (server.socket === first) live.reconnect();
  });
  await answerJoin(first, recovered);
  await first.say(posted(42), posted(43));
  const second = await server.accept();
  expect(second).not.toBe(first);
  expect(second.of("join")[0]?.payload).toEqual(at(41));
  await answerJoin(second, recovered);
  await second.say(posted(42), posted(43));
  expect(seen).toEqual([42, 43]);
  expect(room.position).toEqual({ epoch: "k3", offset: 43 });
});

test("a handler that replaces the connection in the middle of a recovery goes on after its event", async () => {
  const { live, room, socket, server, seen } = await inRoom();
  room.on("message.posted", (payload) => {
    if (payload === 42) live.reconnect();
  });
  await socket.say(posted(42), posted(43));
  const second = await server.accept();
  expect(second.of("join")[0]?.payload).toEqual(at(42));
  await answerJoin(second, recovered);
  await second.say(posted(43));
  expect(seen).toEqual([42, 43]);
});

test("a topic that is joined, left and joined again at once is joined once (phoenix#1483)", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby").leave();
  const room = live.topic("rooms/lobby");
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 41 });
  expect(room.status).toBe("joined");
  expect(server.socket.look().map(({ type }) => type)).toEqual(["join"]);
});

test("so it is when the join is under way when the topic is left", async () => {
  const { live, server } = world();
  const first = live.topic("rooms/lobby");
  await server.accept();
  first.leave();
  const { seen } = watch(live.topic("rooms/lobby"));
  await settle();
  await answerJoin(server.socket, { epoch: "k3", offset: 41 });
  await server.socket.say(posted(42));
  expect(seen).toEqual([42]);
  expect(server.socket.look().map(({ type }) => type)).toEqual(["join"]);
});

test("a topic asked for while the server is away is joined once when it is back (phoenix#1740)", async () => {
  const around = world();
  const { live, server, clock } = around;
  const room = live.topic("rooms/lobby");
  await settle();
  for (let attempt = 0; attempt < 3; attempt++) {
    await server.socket.drop();
    await nextAttempt(around);
  }
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 41 });
  await clock.advance(20_000);
  expect(server.socket.of("join")).toHaveLength(1);
  expect(room.status).toBe("joined");
});

test("a topic that is joined and left at once is not joined again by itself (phoenix#3349)", async () => {
  const { live, server, clock } = world();
  live.topic("boards/9");
  const socket = await server.accept();
  await answerJoin(socket, {});
  const room = live.topic("rooms/lobby");
  await settle();
  room.leave();
  await clock.advance(20_000);
  await answerJoin(socket, { epoch: "k3", offset: 41 });
  await socket.say({ type: "left", ref: 3, topic: "rooms/lobby" });
  await clock.advance(20_000);
  expect(socket.look().map(({ type, topic }) => [type, topic])).toEqual([
    ["join", "boards/9"],
    ["join", "rooms/lobby"],
    ["leave", "rooms/lobby"],
  ]);
});

test("a token that expires while the page is open is asked for again at the next connection (realtime-js#246)", async () => {
  let token = 0;
  const around = world({ token: () => `token ${++token}` });
  const { live, server, statuses } = around;
  live.topic("rooms/lobby");
  await server.accept();
  await server.socket.drop(4401);
  expect(statuses.at(-1)).toBe("closed");
  live.reconnect();
  await server.accept();
  expect(server.socket.of("hello")[0]?.payload).toMatchObject({ token: "token 2" });
  expect(server.socket.of("join")).toHaveLength(1);
});

test("outages in a row are all recovered, with and without events between them (socket.io#4880)", async () => {
  const around = await inRoom();
  const { server, seen, story } = around;
  for (const [offset, events] of [
    [41, []],
    [41, [42]],
    [42, []],
    [42, [43, 44]],
  ] as const) {
    await server.socket.drop();
    await nextAttempt(around);
    await server.accept();
    expect(server.socket.of("join")[0]?.payload).toEqual(at(offset));
    await answerJoin(server.socket, recovered);
    await server.socket.say(...events.map((each) => posted(each)));
  }
  expect(seen).toEqual([42, 43, 44]);
  expect(story).toEqual(["joined", ...Array<string>(4).fill("joined again")]);
});

import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { reported } from "./quiet.js";
import { answerJoin, failure, inRoom, posted, refuse, watch, world } from "./world.js";

const reset = (reason: string, offset?: number, epoch = "k3") => ({
  type: "reset",
  topic: "rooms/lobby",
  payload: offset === undefined ? { reason } : { reason, epoch, offset },
});

test("the same name is the same topic", () => {
  const { live } = world();
  expect(live.topic("rooms/lobby")).toBe(live.topic("rooms/lobby"));
  expect(live.topic("rooms/lobby")).not.toBe(live.topic("rooms/captains"));
});

test("a topic asked for while online is joined at once", async () => {
  const { live, socket } = await inRoom();
  live.topic("rooms/captains");
  await settle();
  expect(socket.look().at(-1)).toEqual({ type: "join", topic: "rooms/captains", ref: 2 });
});

test("handlers get the payload, the name, the offset and the topic", async () => {
  const { room, socket } = await inRoom();
  const calls: unknown[] = [];
  room.on("message.posted", (...args) => calls.push(args));
  await socket.say(posted(42, { body: "hi" }));
  expect(calls).toEqual([
    [{ body: "hi" }, { name: "message.posted", payload: { body: "hi" }, offset: 42, topic: "rooms/lobby" }],
  ]);
});

test("handlers get the events of their name, * gets all", async () => {
  const { room, socket, seen } = await inRoom();
  const typing: unknown[] = [];
  room.on("typing", (payload) => typing.push(payload));
  await socket.say(posted(42), { type: "event", topic: "rooms/lobby", name: "typing", payload: "ada" });
  expect(typing).toEqual(["ada"]);
  expect(seen).toEqual([42, "ada"]);
});

test("a handler taken away is not called", async () => {
  const { room, socket } = await inRoom();
  const calls: unknown[] = [];
  const off = room.on("message.posted", (payload) => calls.push(payload));
  await socket.say(posted(42));
  off();
  await socket.say(posted(43));
  expect(calls).toEqual([42]);
});

test("ready tells of the first join", async () => {
  const { room } = await inRoom();
  expect(await room.ready).toEqual({
    topic: "rooms/lobby",
    position: { epoch: "k3", offset: 41 },
    recovered: true,
    again: false,
  });
  expect(room.status).toBe("joined");
});

test("the position moves with each event", async () => {
  const { room, socket } = await inRoom();
  expect(room.position).toEqual({ epoch: "k3", offset: 41 });
  await socket.say(posted(42), posted(45));
  expect(room.position).toEqual({ epoch: "k3", offset: 45 });
});

test("the position tells by its stamp which event was seen, and is sent with it", async () => {
  const { room, server, socket, clock } = await inRoom();
  await socket.say({ ...posted(42), stamp: 77 });
  expect(room.position).toEqual({ epoch: "k3", offset: 42, stamp: 77 });
  await socket.say({
    type: "reset",
    topic: "rooms/lobby",
    payload: { reason: "epoch", epoch: "k4", offset: 40, stamp: 5 },
  });
  expect(room.position).toEqual({ epoch: "k4", offset: 40, stamp: 5 });
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()[0]).toMatchObject({ payload: { since: { epoch: "k4", offset: 40, stamp: 5 } } });
});

test("the position stands before an event while it is handled, and after it when the handlers are done", async () => {
  const { room, socket } = await inRoom();
  const positions: unknown[] = [];
  room.on("message.posted", () => positions.push(room.position?.offset));
  await socket.say(posted(42));
  expect([...positions, room.position?.offset]).toEqual([41, 42]);
});

test("an event that was seen already is dropped", async () => {
  const { socket, seen } = await inRoom();
  await socket.say(posted(42), posted(42), posted(41), posted(43), posted(42));
  expect(seen).toEqual([42, 43]);
});

test("a handler that throws stops neither the other handlers nor the position", async () => {
  const { room, socket } = await inRoom();
  const seen: unknown[] = [];
  room.on("message.posted", () => {
    throw new Error("a mistake in a handler");
  });
  room.on("message.posted", (payload) => seen.push(payload));
  await socket.say(posted(42), posted(43));
  expect(seen).toEqual([42, 43]);
  expect(room.position?.offset).toBe(43);
  expect(reported.splice(0)).toHaveLength(2);
});

test("a dropped connection is resumed from the position, and what comes twice is handled once", async () => {
  const { room, socket, server, clock, seen, story } = await inRoom();
  await socket.say(posted(42), posted(43));
  await socket.drop();
  expect(room.status).toBe("joining");
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toEqual([
    { type: "join", topic: "rooms/lobby", ref: 1, payload: { since: { epoch: "k3", offset: 43 } } },
  ]);
  await answerJoin(server.socket, { epoch: "k3", offset: 45, recovered: true });
  await server.socket.say(posted(43), posted(44), posted(45), posted(46));
  expect(seen).toEqual([42, 43, 44, 45, 46]);
  expect(story).toEqual(["joined", "joined again"]);
});

test("a position that could not be honoured is told, and the stream goes on from the new one", async () => {
  const { room, socket, server, clock, seen, story } = await inRoom();
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k4", offset: 3, recovered: false });
  await server.socket.say(posted(3), posted(4));
  expect(story.at(-1)).toBe("joined again, not recovered");
  expect(seen).toEqual([4]);
  expect(room.position).toEqual({ epoch: "k4", offset: 4 });
});

test("a join from a given position is recovered when the server says so", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby", { since: { epoch: "k3", offset: 7 } });
  const { seen } = watch(room);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 9, recovered: true });
  expect((await room.ready).recovered).toBe(true);
  expect(room.position?.offset).toBe(7);
  await server.socket.say(posted(8), posted(9));
  expect(seen).toEqual([8, 9]);
});

test("an ephemeral topic has no position, and coming back to it is not recovered", async () => {
  const { room, socket, server, clock, seen, story } = await inRoom({}, {});
  await socket.say({ type: "event", topic: "rooms/lobby", name: "typing", payload: "ada" });
  expect(room.position).toBeUndefined();
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  await answerJoin(server.socket, {});
  expect(seen).toEqual(["ada"]);
  expect(story).toEqual(["joined", "joined again, not recovered"]);
});

test("messages of topics that were not asked for are ignored", async () => {
  const { socket, seen } = await inRoom();
  await socket.say(posted(42, "x", "rooms/other"));
  expect(seen).toEqual([]);
});

// ── reset and snapshots ──────────────────────────────────────────────────────────────────────────

test("a reset moves the position and tells why", async () => {
  const { room, socket, seen, story } = await inRoom();
  await socket.say(reset("trimmed", 90), posted(90), posted(91));
  expect(story).toEqual(["joined", "reset trimmed"]);
  expect(seen).toEqual([91]);
  expect(room.position).toEqual({ epoch: "k3", offset: 91 });
});

test("after a reset to another epoch lower offsets are new", async () => {
  const { room, socket, seen } = await inRoom();
  await socket.say(reset("epoch", 0, "k4"), posted(1), posted(2));
  expect(seen).toEqual([1, 2]);
  expect(room.position).toEqual({ epoch: "k4", offset: 2 });
});

test("an ephemeral topic is told when something may have been missed", async () => {
  const { room, socket, story } = await inRoom({}, {});
  await socket.say(reset("interrupted"));
  expect(story).toEqual(["joined", "reset interrupted"]);
  expect(room.position).toBeUndefined();
  expect(room.status).toBe("joined");
});

test("joined carries the snapshot, also when it is null", async () => {
  const { room } = await inRoom({}, { epoch: "k3", offset: 41, snapshot: { score: 3 } });
  expect((await room.ready).snapshot).toEqual({ score: 3 });
  const other = await inRoom({}, { epoch: "k3", offset: 41, snapshot: null });
  expect(await other.room.ready).toHaveProperty("snapshot", null);
  const without = await inRoom();
  expect(await without.room.ready).not.toHaveProperty("snapshot");
});

test("a reset of a topic with snapshots fetches a fresh one, and events in between are part of it", async () => {
  const { room, socket, seen, story } = await inRoom({}, { epoch: "k3", offset: 41, snapshot: "old" });
  socket.look();
  await socket.say(reset("trimmed", 90), posted(91));
  expect(socket.look()).toEqual([{ type: "leave", topic: "rooms/lobby", ref: 2 }]);
  await socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  expect(socket.look()).toEqual([{ type: "join", topic: "rooms/lobby", ref: 3 }]);
  const snapshots: unknown[] = [];
  room.lifecycle.on("joined", ({ snapshot }) => snapshots.push(snapshot));
  await answerJoin(socket, { epoch: "k3", offset: 92, snapshot: "new" });
  await socket.say(posted(92), posted(93));
  expect(snapshots).toEqual(["new"]);
  expect(seen).toEqual([93]);
  expect(story).toEqual(["joined", "reset trimmed", "joined again, not recovered"]);
});

test("a connection lost while a fresh snapshot is fetched still brings one", async () => {
  const { socket, server, clock } = await inRoom({}, { epoch: "k3", offset: 41, snapshot: "old" });
  await socket.say(reset("epoch", 0, "k4"));
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toEqual([{ type: "join", topic: "rooms/lobby", ref: 1 }]);
});

test("calls made while a fresh snapshot is fetched wait for it", async () => {
  const { room, socket } = await inRoom({}, { epoch: "k3", offset: 41, snapshot: "old" });
  await socket.say(reset("trimmed", 90));
  void room.call("post");
  await settle();
  await socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  expect(socket.of("call")).toEqual([]);
  await answerJoin(socket, { epoch: "k3", offset: 92, snapshot: "new" });
  expect(socket.of("call")).toHaveLength(1);
});

// ── refusals ─────────────────────────────────────────────────────────────────────────────────────

test("a refused join is told, and calls of that topic are rejected", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/captains");
  const { story } = watch(room);
  const call = failure(room.call("post"));
  await server.accept();
  await refuse(server.socket, "join", "forbidden");
  expect(story).toEqual(["refused forbidden"]);
  expect(room.status).toBe("refused");
  expect((await call).code).toBe("forbidden");
  expect((await failure(room.ready)).code).toBe("forbidden");
  expect((await failure(room.call("post"))).code).toBe("forbidden");
});

test("a refused topic is not joined again by itself, and may be joined again on request", async () => {
  const { live, server, clock } = world();
  const refused = live.topic("rooms/captains");
  await server.accept();
  await refuse(server.socket, "join", "forbidden");
  await server.socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toEqual([]);
  const again = live.topic("rooms/captains");
  expect(again).not.toBe(refused);
  await settle();
  await answerJoin(server.socket, {});
  expect(again.status).toBe("joined");
});

test.each(["rate_limited", "unavailable"])("a join that failed with %s is tried again with backoff", async (code) => {
  const { live, server, clock } = world();
  const room = live.topic("rooms/lobby");
  await server.accept();
  await refuse(server.socket, "join", code);
  await clock.advance(499);
  expect(server.socket.of("join")).toHaveLength(1);
  await clock.advance(1);
  expect(server.socket.of("join")).toHaveLength(2);
  await refuse(server.socket, "join", code, { retry_after: 3 });
  await clock.advance(3_999);
  expect(server.socket.of("join")).toHaveLength(2);
  await clock.advance(1);
  await answerJoin(server.socket, {});
  expect(room.status).toBe("joined");
});

test("a join that waits for another try is made at once on a new connection", async () => {
  const { live, server, clock } = world();
  live.topic("rooms/lobby");
  await server.accept();
  await refuse(server.socket, "join", "unavailable", { retry_after: 6 });
  await server.socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.of("join")).toHaveLength(1);
  await clock.advance(8_000);
  expect(server.socket.of("join")).toHaveLength(1);
});

test("a subscription that the server ends is over", async () => {
  const { live, room, socket, story, seen } = await inRoom();
  const call = failure(room.call("post"));
  await socket.say(
    { type: "left", topic: "rooms/lobby", payload: { code: "forbidden", message: "no longer" } } as const,
    posted(42),
  );
  expect(story.at(-1)).toBe("left forbidden");
  expect(room.status).toBe("left");
  expect(seen).toEqual([]);
  expect((await call).code).toBe("forbidden");
  expect((await failure(room.call("post"))).code).toBe("forbidden");
  expect(live.topic("rooms/lobby")).not.toBe(room);
});

// ── leaving ──────────────────────────────────────────────────────────────────────────────────────

test("leave says so to the server and to the handlers, and nothing more is handled", async () => {
  const { room, socket, story, seen } = await inRoom();
  const call = failure(room.call("post"));
  await settle();
  socket.look();
  room.leave();
  room.leave();
  await socket.say(posted(42));
  expect(socket.look()).toEqual([{ type: "leave", topic: "rooms/lobby", ref: 3 }]);
  expect(story).toEqual(["joined", "left"]);
  expect(seen).toEqual([]);
  expect((await call).code).toBe("left");
  expect((await failure(room.call("post"))).code).toBe("left");
});

test("a topic that the server could not keep for a moment is joined again from its position", async () => {
  const { room, socket, clock, story, seen } = await inRoom();
  await socket.say(posted(42));
  await socket.say({ type: "left", topic: "rooms/lobby", payload: { code: "unavailable", message: "" } });
  expect([room.status, socket.of("join").length]).toEqual(["joining", 1]);
  const call = room.call("post");
  await clock.advance(30_000);
  expect(socket.of("join").at(-1)).toMatchObject({ payload: { since: { epoch: "k3", offset: 42 } } });
  await answerJoin(socket, { epoch: "k3", offset: 43, recovered: true });
  await socket.say(posted(43));
  expect(story).toEqual(["joined", "joined again"]);
  expect(seen).toEqual([42, 43]);
  expect(socket.of("call").length).toBe(1);
  room.leave();
  expect((await failure(call)).code).toBe("left");
});

test("a topic that was left is not joined on the next connection", async () => {
  const { room, socket, server, clock } = await inRoom();
  room.leave();
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toEqual([]);
});

test("a handler that leaves the topic sees nothing more of it", async () => {
  const { room, socket, seen } = await inRoom();
  const first: unknown[] = [];
  room.on("message.posted", (payload) => {
    first.push(payload);
    room.leave();
  });
  await socket.say(posted(42), posted(43));
  expect(first).toEqual([42]);
  expect(seen).toEqual([]); // its turn would have been after the handler that left
});

test("a topic left before its join is answered is left when the answer comes", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  const { story } = watch(room);
  await server.accept();
  room.leave();
  expect(server.socket.look().map(({ type }) => type)).toEqual(["join"]);
  await answerJoin(server.socket, { epoch: "k3", offset: 1 });
  expect(server.socket.look()).toEqual([{ type: "leave", topic: "rooms/lobby", ref: 2 }]);
  expect(story).toEqual(["left"]);
});

test("a topic left and asked for again is joined when the first one is out", async () => {
  const { live, room, socket } = await inRoom();
  room.leave();
  await settle();
  const again = live.topic("rooms/lobby");
  const { seen, story } = watch(again);
  socket.look();
  await socket.say(posted(42));
  expect(seen).toEqual([]);
  await socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  const since = { epoch: "k3", offset: 41 };
  expect(socket.look()).toEqual([{ type: "join", topic: "rooms/lobby", ref: 3, payload: { since } }]);
  await answerJoin(socket, { epoch: "k3", offset: 42, recovered: true });
  await socket.say(posted(42), posted(43));
  expect(seen).toEqual([42, 43]);
  expect(story).toEqual(["joined"]);
});

test("a leave that came too fast for the server is said again", async () => {
  const { live, room, socket, clock } = await inRoom();
  room.leave();
  await settle();
  await refuse(socket, "leave", "rate_limited", { retry_after: 1 });
  const again = live.topic("rooms/lobby");
  await clock.advance(1_500);
  expect(socket.of("leave")).toHaveLength(2);
  await socket.say({ type: "left", ref: 3, topic: "rooms/lobby" });
  await answerJoin(socket, { epoch: "k3", offset: 50 });
  expect(again.status).toBe("joined");
});

test("a topic left while offline is just gone", async () => {
  const { live, room, socket, server, clock } = await inRoom();
  await socket.drop();
  room.leave();
  await settle();
  const again = live.topic("rooms/lobby");
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toMatchObject([{ type: "join", topic: "rooms/lobby", ref: 1 }]);
  await answerJoin(server.socket, { epoch: "k3", offset: 50 });
  expect(again.status).toBe("joined");
});

// ── canonical names ──────────────────────────────────────────────────────────────────────────────

test("a topic is found by its canonical name too, and speaks under it", async () => {
  const { live, server, clock } = world();
  const inbox = live.topic("inbox/me");
  const { seen } = watch(inbox);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k9", offset: 3 }, "inbox/7");
  await server.socket.say(posted(4, "a letter", "inbox/7"));
  expect(seen).toEqual(["a letter"]);
  expect(live.topic("inbox/7")).toBe(inbox);
  expect(live.topic("inbox/me")).toBe(inbox);
  void inbox.call("read");
  await settle();
  expect(server.socket.of("call")[0]?.topic).toBe("inbox/7");
  await server.socket.drop();
  await clock.advance(500);
  await server.accept();
  expect(server.socket.look()).toMatchObject([{ topic: "inbox/me", payload: { since: { offset: 4 } } }]);
});

test("two names of one topic, asked for before the server said so, both get its events", async () => {
  const { live, server } = world();
  const me = watch(live.topic("inbox/me"));
  const seven = live.topic("inbox/7");
  const other = watch(seven);
  await server.accept();
  const [first, second] = server.socket.look();
  await server.socket.say(
    { type: "joined", ref: first?.ref ?? 0, topic: "inbox/7", payload: { epoch: "k9", offset: 3 } } as const,
    posted(4, "a letter", "inbox/7"),
    { type: "error", ref: second?.ref ?? 0, payload: { code: "already_joined", message: "" } } as const,
    posted(5, "another", "inbox/7"),
  );
  expect(me.seen).toEqual(["a letter", "another"]);
  expect(other.seen).toEqual(["a letter", "another"]);
  expect(other.story).toEqual(["joined"]);
});

test("and so do they when the canonical name was asked for first", async () => {
  const { live, server } = world();
  const seven = watch(live.topic("inbox/7"));
  const mine = live.topic("inbox/me");
  const me = watch(mine);
  await server.accept();
  const [first, second] = server.socket.look();
  await server.socket.say(
    { type: "joined", ref: first?.ref ?? 0, topic: "inbox/7", payload: { epoch: "k9", offset: 3 } } as const,
    { type: "error", ref: second?.ref ?? 0, topic: "inbox/7", payload: { code: "already_joined", message: "" } } as const,
    posted(4, "a letter", "inbox/7"),
  );
  expect(me.seen).toEqual(["a letter"]);
  expect(seven.seen).toEqual(["a letter"]);
  mine.leave();
  expect(server.socket.look()).toEqual([]); // the other one still wants it
  await server.socket.say(posted(5, "another", "inbox/7"));
  expect(me.seen).toEqual(["a letter"]);
  expect(seven.seen).toEqual(["a letter", "another"]);
});

test("the answer to a leave that the server has overtaken does not undo the join that followed", async () => {
  const { live, room, socket, server } = await inRoom();
  room.leave();
  await settle();
  await socket.say({ type: "left", topic: "rooms/lobby", payload: { code: "evicted", message: "evicted" } });
  const again = live.topic("rooms/lobby");
  const story = watch(again).story;
  await settle();
  const ref = socket.of("leave").at(-1)?.ref ?? 0;
  await socket.say({ type: "error", ref, payload: { code: "not_joined", message: "not_joined" } });
  await answerJoin(socket, { epoch: "k3", offset: 41, recovered: true });
  expect(story).toEqual(["joined"]);
  expect(again.status).toBe("joined");
  expect(socket.of("join").length).toBe(2);
  expect(server.sockets.length).toBe(1);
});

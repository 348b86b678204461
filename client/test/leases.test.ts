import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, failure, inRoom, posted, refuse, watch, world } from "./world.js";

const left = (ref: number) => ({ type: "left", ref, topic: "rooms/lobby" });
const AT_41 = { epoch: "k3", offset: 41 };

async function leased() {
  const around = world();
  const room = around.live.lease("rooms/lobby");
  const watched = watch(room);
  const socket = await around.server.accept();
  await answerJoin(socket, AT_41);
  socket.look();
  return { ...around, ...watched, room, socket };
}

test("each lease is an object of its own, and one join serves all", async () => {
  const { live, server } = world();
  const [one, other] = [live.lease("rooms/lobby"), live.lease("rooms/lobby")];
  expect(one).not.toBe(other);
  expect(live.topic("rooms/lobby")).toBe(live.topic("rooms/lobby"));
  await server.accept();
  expect(server.socket.look()).toHaveLength(1);
  await answerJoin(server.socket, AT_41);
  expect([one.status, other.status]).toEqual(["joined", "joined"]);
});

test("one lease ends and the other one goes on", async () => {
  const { live, room, socket, seen, story } = await leased();
  const other = watch(live.lease("rooms/lobby"));
  await settle();
  room.leave();
  await settle();
  await socket.say(posted(42));
  expect(socket.look()).toEqual([]);
  expect([seen, story]).toEqual([[], ["joined", "left"]]);
  expect([other.seen, other.story]).toEqual([[42], ["joined"]]);
});

test("a lease ends and the topic that all share goes on, and the other way round", async () => {
  const { live, room, socket, seen } = await inRoom();
  const lease = live.lease("rooms/lobby");
  const leased = watch(lease);
  await settle();
  lease.leave();
  await socket.say(posted(42));
  expect(seen).toEqual([42]);
  const another = watch(live.lease("rooms/lobby"));
  await settle();
  room.leave();
  await settle();
  await socket.say(posted(43));
  expect([seen, leased.seen, another.seen]).toEqual([[42], [], [43]]);
  expect(socket.of("leave")).toEqual([]);
});

test("the server is told when the last one has left", async () => {
  const { live, room, socket } = await leased();
  const other = live.lease("rooms/lobby");
  room.leave();
  await settle();
  expect(socket.look()).toEqual([]);
  other.leave();
  other.leave();
  await settle();
  expect(socket.look()).toEqual([{ type: "leave", topic: "rooms/lobby", ref: 2 }]);
});

test("a lease that is left and taken again in the same turn leaves no trace on the wire", async () => {
  const { live, room, socket, seen } = await leased();
  room.leave();
  const again = live.lease("rooms/lobby");
  const watched = watch(again);
  await settle();
  await socket.say(posted(42));
  expect(socket.look()).toEqual([]);
  expect(again.status).toBe("joined");
  expect([seen, watched.seen, watched.story]).toEqual([[], [42], ["joined"]]);
});

test("nothing connects for a lease that is left in the same turn", async () => {
  const { live, server } = world();
  live.lease("rooms/lobby").leave();
  live.topic("rooms/lobby").leave();
  await settle();
  expect(server.sockets).toEqual([]);
  expect(live.status).toBe("idle");
});

test("a lease can be disposed of, and ends with its signal", async () => {
  const { live, room, socket, story } = await leased();
  const controller = new AbortController();
  const other = live.lease("rooms/lobby", { signal: controller.signal });
  room[Symbol.dispose]();
  controller.abort();
  expect(other.status).toBe("left");
  expect(live.lease("rooms/lobby", { signal: controller.signal }).status).toBe("left");
  await settle();
  expect(story).toEqual(["joined", "left"]);
  expect(socket.of("leave")).toHaveLength(1);
});

test("a late lease is told that it has joined, in its own time", async () => {
  const { live, socket } = await leased();
  await socket.say(posted(42));
  const late = live.lease("rooms/lobby");
  const { story } = watch(late);
  expect(late.status).toBe("joining");
  expect(await late.ready).toEqual({
    topic: "rooms/lobby",
    position: { epoch: "k3", offset: 42 },
    recovered: true,
    again: false,
  });
  expect([late.status, story]).toEqual(["joined", ["joined"]]);
});

test("a late lease of a topic with snapshots gets one that is true now, and so does everyone else", async () => {
  const around = world();
  const first = around.live.lease("rooms/lobby");
  const { story, seen } = watch(first);
  const socket = await around.server.accept();
  await answerJoin(socket, { ...AT_41, snapshot: { count: 1 } });
  await socket.say(posted(42));
  const late = [around.live.lease("rooms/lobby"), around.live.lease("rooms/lobby")];
  await settle();
  socket.look();
  await socket.say(left(2));
  expect(socket.look()).toEqual([{ type: "join", topic: "rooms/lobby", ref: 3 }]);
  await answerJoin(socket, { epoch: "k3", offset: 43, snapshot: { count: 3 } });
  await socket.say(posted(43), posted(44));
  expect((await late[0]?.ready)?.snapshot).toEqual({ count: 3 });
  expect((await late[1]?.ready)?.snapshot).not.toBe((await late[0]?.ready)?.snapshot); // each may change its own
  expect(story).toEqual(["joined", "joined again, not recovered"]);
  expect(seen).toEqual([42, 44]);
});

test("calls of a lease are its own", async () => {
  const { live, room, socket } = await leased();
  const other = live.lease("rooms/lobby");
  await settle();
  const mine = failure(room.call("post"));
  const others = other.call("post");
  await settle();
  room.leave();
  expect((await mine).code).toBe("left");
  expect((await failure(room.call("post"))).code).toBe("left");
  await socket.say({ type: "result", ref: 3, payload: "done" });
  expect(await others).toBe("done");
});

test("a lease that was left sends nothing", async () => {
  const { live, room, socket } = await leased();
  live.lease("rooms/lobby");
  room.leave();
  room.send("typing");
  expect(socket.of("call")).toEqual([]);
});

test("a refusal and an eviction reach all leases", async () => {
  const { live, server } = world();
  const leases = [live.lease("rooms/captains"), live.lease("rooms/captains")];
  await server.accept();
  await refuse(server.socket, "join", "forbidden");
  expect(leases.map(({ status }) => status)).toEqual(["refused", "refused"]);
  const { live: other, room, socket } = await leased();
  const second = other.lease("rooms/lobby");
  await socket.say({ type: "left", topic: "rooms/lobby", payload: { code: "evicted", message: "" } } as never);
  expect([room.state.error?.code, second.state.error?.code]).toEqual(["evicted", "evicted"]);
});

test("two names of one topic are counted each for itself", async () => {
  const { live, server } = world();
  const me = live.lease("inbox/me");
  const { seen } = watch(me);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k9", offset: 3 }, "inbox/7");
  const seven = live.lease("inbox/7"); // known by now to be the same
  await settle();
  me.leave();
  await settle();
  await server.socket.say(posted(4, "a letter", "inbox/7"));
  expect([seen, seven.status, seven.position?.offset]).toEqual([[], "joined", 4]);
  expect(server.socket.of("leave")).toEqual([]);
});

test("a lease keeps its position when it ends, also when others go on", async () => {
  const { live, room, socket } = await leased();
  live.lease("rooms/lobby");
  room.leave();
  await socket.say(posted(42));
  expect(room.position).toEqual(AT_41);
});

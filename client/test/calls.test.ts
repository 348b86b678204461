import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, failure, inRoom, refuse, watch, world, type World } from "./world.js";

/** Lose the connection, come back and be in the room again. */
async function comeBack({ server, clock }: World): Promise<void> {
  await server.socket.drop();
  await clock.advance(30_000);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 41, recovered: true });
}

/** What happened to a promise so far. */
function outcome(promise: Promise<unknown>): { now: unknown } {
  const box: { now: unknown } = { now: "pending" };
  promise.then(
    (value) => (box.now = value),
    (error: unknown) => (box.now = error),
  );
  return box;
}

test("a call carries its arguments and a key, and resolves with the result", async () => {
  const { live, room, socket } = await inRoom();
  const call = room.call("post", { body: "hi" });
  await settle();
  expect(socket.look().at(-1)).toEqual({
    type: "call",
    ref: 2,
    topic: "rooms/lobby",
    name: "post",
    key: `${live.client}-1`,
    payload: { body: "hi" },
  });
  await socket.say({ type: "result", ref: 2, payload: 913 });
  expect(await call).toBe(913);
});

test("each call has a key of its own, and a caller may bring one", async () => {
  const { live, room, socket } = await inRoom();
  void room.call("post");
  void room.call("post");
  void room.call("post", {}, { key: "order-17" });
  await settle();
  expect(socket.of("call").map(({ key }) => key)).toEqual([`${live.client}-1`, `${live.client}-2`, "order-17"]);
});

test("a call that fails is rejected with what the server said", async () => {
  const { room, socket } = await inRoom();
  const call = failure(room.call("post"));
  await settle();
  await refuse(socket, "call", "refused", { reason: "room_closed" });
  const error = await call;
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "LiveError", code: "refused", reason: "room_closed", retry: false });
});

test("a call that hits a limit at the moment it is made is the caller's to repeat", async () => {
  const { room, socket } = await inRoom();
  const call = failure(room.call("post"));
  await settle();
  await refuse(socket, "call", "rate_limited", { retry_after: 0.8 });
  expect(await call).toMatchObject({ code: "rate_limited", retry: true, retryAfter: 0.8 });
});

test("arguments are fixed when the call is made", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  const message = { body: "before" };
  void room.call("post", message);
  message.body = "after";
  await server.accept();
  await answerJoin(server.socket, {});
  expect(server.socket.of("call")[0]?.payload).toEqual({ body: "before" });
});

test("arguments that are no JSON reject the call, and nothing is sent", async () => {
  const { room, socket } = await inRoom();
  await expect(room.call("post", { big: 1n })).rejects.toThrow(TypeError);
  expect(socket.of("call")).toEqual([]);
});

test("a call made before the topic is joined is sent after it", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  const call = room.call("post");
  await server.accept();
  expect(server.socket.of("call")).toEqual([]);
  await answerJoin(server.socket, {});
  await server.socket.say({ type: "result", ref: 2, payload: "ok" });
  expect(await call).toBe("ok");
});

test("a call made offline is sent once after reconnecting", async () => {
  const around = await inRoom();
  await around.socket.drop();
  const call = around.room.call("post");
  await around.clock.advance(500);
  await around.server.accept();
  await answerJoin(around.server.socket, { epoch: "k3", offset: 41, recovered: true });
  expect(around.server.socket.of("call")).toHaveLength(1);
  await around.server.socket.say({ type: "result", ref: 2, payload: "ok" });
  expect(await call).toBe("ok");
  await comeBack(around);
  expect(around.server.socket.of("call")).toEqual([]);
});

test("a call without an answer is sent again with its key, and resolves once", async () => {
  const around = await inRoom();
  const call = around.room.call("post", { body: "hi" });
  await settle();
  const [first] = around.socket.of("call");
  await comeBack(around);
  const [second] = around.server.socket.of("call");
  expect(second).toEqual({ ...first, ref: 2 });
  await around.server.socket.say({ type: "result", ref: 2, payload: 913 });
  expect(await call).toBe(913);
});

test("calls are sent again in the order in which they were made, new ones after them", async () => {
  const around = await inRoom();
  for (const body of ["a", "b", "c"]) void around.room.call("post", { body });
  await settle();
  await around.socket.say({ type: "result", ref: 3, payload: null }); // b
  await around.socket.drop();
  void around.room.call("post", { body: "d" });
  await around.clock.advance(500);
  await around.server.accept();
  void around.room.call("post", { body: "e" });
  await answerJoin(around.server.socket, { epoch: "k3", offset: 41, recovered: true });
  expect(around.server.socket.of("call").map(({ payload }) => payload?.["body"])).toEqual(["a", "c", "d", "e"]);
});

test("no more calls run at once than the server allows; the others follow in order", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  for (let n = 1; n <= 5; n++) void room.call("post", { n });
  await server.accept({ limits: { message_bytes: 65_536, topics: 100, calls: 2 } });
  await answerJoin(server.socket, {});
  const bodies = (): unknown[] => server.socket.of("call").map(({ payload }) => payload?.["n"]);
  expect(bodies()).toEqual([1, 2]);
  await server.socket.say({ type: "result", ref: 3, payload: null });
  expect(bodies()).toEqual([1, 2, 3]);
  await server.socket.say({ type: "result", ref: 2, payload: null }, { type: "result", ref: 4, payload: null });
  expect(bodies()).toEqual([1, 2, 3, 4, 5]);
});

test("a call that had to wait is held, not failed, when sending the queue hits a limit", async () => {
  const { live, server, clock } = world();
  const room = live.topic("rooms/lobby");
  const calls = ["a", "b", "c"].map((body) => outcome(room.call("post", { body })));
  await server.accept();
  await answerJoin(server.socket, {});
  await server.socket.say({ type: "result", ref: 2, payload: "ok a" });
  await refuse(server.socket, "call", "rate_limited", { retry_after: 2 }, 1);
  await refuse(server.socket, "call", "rate_limited", { retry_after: 2 }, 2);
  void room.call("post", { body: "d" });
  await clock.advance(2_499);
  expect(server.socket.of("call")).toHaveLength(3);
  await clock.advance(1);
  expect(server.socket.of("call").map(({ payload }) => payload?.["body"])).toEqual(["a", "b", "c", "b", "c", "d"]);
  await server.socket.say({ type: "result", ref: 5, payload: "ok b" }, { type: "result", ref: 6, payload: "ok c" });
  expect(calls.map(({ now }) => now)).toEqual(["ok a", "ok b", "ok c"]);
});

test("too_many_calls is waited out", async () => {
  const { room, socket, clock } = await inRoom();
  const call = outcome(room.call("post"));
  await settle();
  await refuse(socket, "call", "too_many_calls");
  await clock.advance(1_500);
  await socket.say({ type: "result", ref: 3, payload: "ok" });
  expect(call.now).toBe("ok");
});

test("a call that is too large for the server is rejected without being sent", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  const large = failure(room.call("post", { body: "ä".repeat(200) }));
  const small = room.call("post", { body: "a".repeat(200) });
  await server.accept({ limits: { message_bytes: 400, topics: 100, calls: 32 } });
  await answerJoin(server.socket, {});
  expect((await large).code).toBe("too_large");
  expect(server.socket.of("call")).toHaveLength(1);
  await server.socket.say({ type: "result", ref: server.socket.of("call")[0]?.ref ?? 0, payload: 1 });
  expect(await small).toBe(1);
});

test("a call is given up after its timeout, sent or not, and a late answer does nothing", async () => {
  const { room, socket, clock } = await inRoom();
  const call = failure(room.call("post", {}, { timeout: 5_000 }));
  await clock.advance(5_000);
  expect((await call).code).toBe("timeout");
  await socket.say({ type: "result", ref: 2, payload: null });
  await socket.drop();
  const offline = failure(room.call("post", {}, { timeout: 100 }));
  await clock.advance(100);
  expect((await offline).code).toBe("timeout");
});

test("a call that was given up is not sent again", async () => {
  const around = await inRoom();
  const call = failure(around.room.call("post", {}, { timeout: 10 }));
  await around.clock.advance(10);
  await call;
  await comeBack(around);
  expect(around.server.socket.of("call")).toEqual([]);
});

test("a call is given up when its signal aborts, with the signal's reason", async () => {
  const { room, socket } = await inRoom();
  const controller = new AbortController();
  const call = failure(room.call("post", {}, { signal: controller.signal }));
  await settle();
  const reason = new Error("the dialog was closed");
  controller.abort(reason);
  expect(await call).toBe(reason);
  expect(await failure(room.call("post", {}, { signal: controller.signal }))).toBe(reason);
  expect(socket.of("call")).toHaveLength(1);
});

test("a settled call leaves no timer behind", async () => {
  const { room, socket, clock } = await inRoom();
  const before = clock.waiting;
  const call = room.call("post", {}, { timeout: 5_000, signal: new AbortController().signal });
  await settle();
  expect(clock.waiting).toBe(before + 1);
  await socket.say({ type: "result", ref: 2, payload: null });
  await call;
  expect(clock.waiting).toBe(before);
});

test("the queue is bounded", async () => {
  const { live } = world({ maxCalls: 3 });
  const room = live.topic("rooms/lobby");
  for (let n = 0; n < 3; n++) room.call("post").catch(() => undefined);
  expect((await failure(room.call("post"))).code).toBe("queue_full");
  live.close();
});

test("a thousand calls may wait unless said otherwise", async () => {
  const { live } = world();
  const room = live.topic("rooms/lobby");
  for (let n = 0; n < 1_000; n++) room.call("post").catch(() => undefined);
  expect((await failure(room.call("post"))).code).toBe("queue_full");
  live.close();
});

test("send has neither ref nor key", async () => {
  const { room, socket } = await inRoom();
  room.send("typing", {});
  room.send("typing");
  expect(socket.of("call")).toEqual([
    { type: "call", topic: "rooms/lobby", name: "typing", payload: {} },
    { type: "call", topic: "rooms/lobby", name: "typing" },
  ]);
});

test("send is dropped offline and never sent again", async () => {
  const around = await inRoom();
  around.room.send("typing");
  await around.socket.drop();
  around.room.send("typing");
  await around.clock.advance(500);
  await around.server.accept();
  around.room.send("typing");
  await answerJoin(around.server.socket, { epoch: "k3", offset: 41, recovered: true });
  expect(around.server.socket.of("call")).toEqual([]);
});

test("calls of other topics do not wait for one that is not joined", async () => {
  const { live, room, socket } = await inRoom();
  void live.topic("rooms/captains").call("post");
  void room.call("post");
  await settle();
  expect(socket.of("call").map(({ topic }) => topic)).toEqual(["rooms/lobby"]);
});

test("only the calls of a refused topic are rejected", async () => {
  const { live, room, socket } = await inRoom();
  const captains = live.topic("rooms/captains");
  const { story } = watch(captains);
  const theirs = failure(captains.call("post"));
  const ours = outcome(room.call("post"));
  await settle();
  await refuse(socket, "join", "forbidden");
  expect((await theirs).code).toBe("forbidden");
  expect(story).toEqual(["refused forbidden"]);
  expect(ours.now).toBe("pending");
});

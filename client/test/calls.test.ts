import { runInNewContext } from "node:vm";

import { expect, test } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, failure, inRoom, nextAttempt, posted, refuse, watch, world, type World } from "./world.js";

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

test("a call whose arguments are not valid is told what is wrong with which field", async () => {
  const { room, socket } = await inRoom();
  const call = failure(room.call("post"));
  await settle();
  const errors = { body: ["Too long."], __all__: ["Not on Sundays."] };
  await refuse(socket, "call", "invalid_payload", { errors });
  expect(await call).toMatchObject({ code: "invalid_payload", errors });
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

/** A class whose state JSON cannot see. */
class Hidden {
  #secret = 1;
  get secret(): number {
    return this.#secret;
  }
}

test.each([
  ["a BigInt", { big: 1n }, "`big` is of type bigint"],
  ["a function as payload", () => 1, "it is of type function"],
  ["a function in a field", { done: () => 1 }, "`done` is of type function"],
  ["a symbol", { kind: Symbol("kind") }, "`kind` is of type symbol"],
  ["a FormData", new FormData(), "it is of type FormData"],
  ["a Map", new Map([["a", 1]]), "it is of type Map"],
  ["a Set in a field", { tags: new Set(["a"]) }, "`tags` is of type Set"],
  ["a Blob", { photo: new Blob(["x"]) }, "`photo` is of type Blob"],
  ["a typed array", { bytes: new Uint8Array(2) }, "`bytes` is of type Uint8Array"],
  ["an ArrayBuffer", { bytes: new ArrayBuffer(2) }, "`bytes` is of type ArrayBuffer"],
  ["a promise that was not awaited", { id: Promise.resolve(1) }, "`id` is of type Promise"],
  ["an error", { cause: new Error("no") }, "`cause` is of type Error"],
  ["an object with private state only", { it: new Hidden() }, "`it` is of type Hidden"],
  ["NaN after a field that is named it", { it: 1, width: NaN }, "`width` is NaN"],
  ["infinity in an array", { sizes: [1, -Infinity] }, "`1` is -Infinity"],
  ["an array", [1, 2], "it is of type array"],
  ["a date", new Date(0), "it is of type string"],
  ["a string", "hi", "it is of type string"],
  ["an empty string", "", "it is of type string"],
  ["zero", 0, "it is of type number"],
  ["false", false, "it is of type boolean"],
  ["an object whose toJSON gives nothing", { toJSON: () => undefined }, "it is of type undefined"],
])("%s is no JSON object: it rejects the call by name, and nothing is sent", async (_, payload, named) => {
  const { room, socket } = await inRoom();
  const error = await failure(room.call("post", payload as object));
  expect(error).toMatchObject({ name: "LiveError", code: "invalid_payload", retry: false });
  expect(error.message).toContain("`post`");
  expect(error.message).toContain(named);
  expect(socket.of("call")).toEqual([]);
});

test("a cycle rejects the call, with what JSON.stringify says of it as the cause", async () => {
  const { room, socket } = await inRoom();
  const self: { self?: object } = {};
  self.self = self;
  const error = await failure(room.call("post", self));
  expect(error).toMatchObject({ code: "invalid_payload" });
  expect(error.cause).toBeInstanceOf(TypeError);
  expect(socket.of("call")).toEqual([]);
});

test("what a toJSON throws rejects the call", async () => {
  const { room } = await inRoom();
  const toJSON = (): never => {
    throw new RangeError("no time");
  };
  expect(await failure(room.call("post", { at: { toJSON } }))).toMatchObject({ code: "invalid_payload" });
});

test("what JSON can hold is sent: dates, instances with fields, toJSON, null, objects of another realm; undefined is left out", async () => {
  const { room, socket } = await inRoom();
  class Message {
    readonly body = "hi";
  }
  const foreign = runInNewContext("({ empty: {}, list: [] })") as object;
  void room.call("post", {
    at: new Date(0),
    message: new Message(),
    money: { toJSON: () => "1.50" },
    nothing: null,
    missing: undefined,
    bare: Object.create(null) as object,
    foreign,
  });
  void room.call("post", { toJSON: () => ({ a: 1 }) });
  void room.call("post", null as unknown as object);
  await settle();
  expect(socket.of("call").map(({ payload }) => payload)).toEqual([
    {
      at: "1970-01-01T00:00:00.000Z",
      message: { body: "hi" },
      money: "1.50",
      nothing: null,
      bare: {},
      foreign: { empty: {}, list: [] },
    },
    { a: 1 },
    undefined,
  ]);
});

test("half an emoji is sent as the replacement character, in values, in names and in the token", async () => {
  const { room, socket, live } = await inRoom();
  const half = "\ud83d";
  void room.call("post", { [half]: `${half}!`, whole: "😀", text: "\\ud83d" });
  room.send("typing", { half: "\udc00" });
  void room.call(half);
  live.topic(`rooms/${half}`);
  void live.refresh(half).catch(() => undefined);
  await settle();
  const [first, second, third] = socket.of("call");
  expect(first?.payload).toEqual({ "\ufffd": "\ufffd!", whole: "😀", text: "\\ud83d" });
  expect(second?.payload).toEqual({ half: "\ufffd" });
  expect(third?.name).toBe("\ufffd");
  expect(socket.of("join").at(-1)?.topic).toBe("rooms/\ufffd");
  expect(socket.of("refresh")[0]?.payload).toEqual({ token: "\ufffd" });
});

/** The server could not read a message, and does not know which request it was. */
const UNREADABLE = { type: "error", payload: { code: "malformed", message: "This is not a message." } };

test("an error without ref rejects the call that is behind it, and only that", async () => {
  const { room, socket } = await inRoom();
  const calls = ["a", "b", "c"].map((body) => outcome(room.call("post", { body })));
  await settle();
  await socket.say({ type: "result", ref: 2, payload: "ok a" }, UNREADABLE);
  // The client cannot know whether it was b or c: it sends them again, one at a time.
  expect(socket.of("call").map(({ payload }) => payload?.["body"])).toEqual(["a", "b", "c", "b"]);
  expect(socket.of("call")[3]?.key).toBe(socket.of("call")[1]?.key);
  await socket.say(UNREADABLE);
  expect(calls[1]?.now).toMatchObject({ code: "malformed" });
  expect(socket.of("call").at(-1)?.payload).toEqual({ body: "c" });
  await socket.say({ type: "result", ref: 6, payload: "ok c" });
  expect(calls[2]?.now).toBe("ok c");
});

test("an error without ref for a send rejects no call", async () => {
  const { room, socket } = await inRoom();
  const call = outcome(room.call("post", { body: "a" }));
  await settle();
  room.send("typing", {});
  await socket.say(UNREADABLE);
  await socket.say({ type: "result", ref: socket.of("call").at(-1)?.ref ?? 0, payload: "ok" });
  expect(call.now).toBe("ok");
});

test("errors without ref do not use up the calls that may run at once", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  await server.accept({ limits: { message_bytes: 65_536, topics: 100, calls: 2 } });
  const { socket } = server;
  await answerJoin(socket, {});
  for (let n = 0; n < 5; n++) {
    const bad = failure(room.call("post", { n }));
    await settle();
    await socket.say(UNREADABLE);
    await socket.say(UNREADABLE);
    expect(await bad).toMatchObject({ code: "malformed" });
  }
  const good = [outcome(room.call("post")), outcome(room.call("post"))];
  await settle();
  const [one, other] = socket.of("call").slice(-2);
  expect(socket.of("call")).toHaveLength(12);
  await socket.say({ type: "result", ref: one?.ref ?? 0, payload: 1 }, { type: "result", ref: other?.ref ?? 0, payload: 2 });
  expect(good.map(({ now }) => now)).toEqual([1, 2]);
});

test("a call that hits a limit without ref is not asked again at once: the limit was on another message", async () => {
  const { room, socket } = await inRoom();
  void room.call("post", { body: "a" });
  await settle();
  await socket.say({ type: "error", payload: { code: "rate_limited", message: "slow down", retry_after: 0.8 } });
  expect(socket.of("call")).toHaveLength(1);
});

test("an answer to the first sending of a call that was sent again counts once", async () => {
  const { room, socket } = await inRoom();
  const calls = ["a", "b"].map((body) => outcome(room.call("post", { body })));
  await settle();
  await socket.say(UNREADABLE);
  await socket.say({ type: "result", ref: 3, payload: "ok b" }); // to b's first sending, while a is tried alone
  await socket.say({ type: "result", ref: 4, payload: "ok a" });
  for (const { ref } of socket.of("call").slice(3)) await socket.say({ type: "result", ref: ref ?? 0, payload: "ok b" });
  expect(calls.map(({ now }) => now)).toEqual(["ok a", "ok b"]);
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
  expect(clock.waiting).toBe(before + 2); // its own limit, and the look at a silent connection
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

test("a call on a frozen connection finds it out in ten seconds, and is sent again on the next one", async () => {
  const around = await inRoom();
  const { clock, server, socket, room, live } = around;
  await clock.advance(2_000);
  const call = room.call("post");
  await clock.advance(5_000);
  expect([socket.of("ping").length, live.status]).toEqual([1, "online"]);
  await clock.advance(5_000);
  expect([live.status, live.state.error?.code]).toEqual(["waiting", "heartbeat_missed"]);
  await nextAttempt(around);
  const next = await server.accept();
  await answerJoin(next, { epoch: "k3", offset: 41, recovered: true });
  await next.say({ type: "result", ref: next.of("call")[0]?.ref, payload: 1 } as never);
  expect(await call).toBe(1);
});

test("a slow action does not harm a connection that answers, and costs a ping in five seconds at most", async () => {
  const { clock, socket, room, statuses } = await inRoom();
  const call = room.call("slow");
  for (let second = 0; second < 60; second++) {
    const before = socket.of("ping").length;
    await clock.advance(1_000);
    if (socket.of("ping").length > before) await socket.say({ type: "pong" });
  }
  expect(statuses).toEqual(["connecting", "online"]);
  expect(socket.of("ping").length).toBeGreaterThan(4);
  expect(socket.of("ping").length).toBeLessThanOrEqual(12);
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref, payload: 1 } as never);
  expect(await call).toBe(1);
});

test("a connection that brings events is not probed for a call that waits", async () => {
  const { clock, socket, room } = await inRoom();
  void failure(room.call("slow"));
  for (let offset = 42; offset < 52; offset++) {
    await clock.advance(2_000);
    await socket.say(posted(offset));
  }
  expect(socket.of("ping")).toEqual([]);
  room.leave();
});

test("a call whose answer was too slow once gets the patience of any message", async () => {
  const around = await inRoom();
  const { clock, server, room, live } = around;
  void failure(room.call("large"));
  await clock.advance(10_000);
  expect(live.status).toBe("waiting");
  await nextAttempt(around);
  const next = await server.accept();
  await answerJoin(next, { epoch: "k3", offset: 41, recovered: true });
  await clock.advance(20_000);
  expect([live.status, next.of("ping").length]).toEqual(["online", 0]);
  room.leave();
});

test("a call that a proxy or the ASGI server finds too large is rejected, and takes no other call along", async () => {
  const around = await inRoom();
  const { room, server } = around;
  const [small, large] = [outcome(room.call("a")), outcome(room.call("b", { body: "x".repeat(20_000) }))];
  await settle();
  for (let round = 0; round < 20 && large.now === "pending"; round++) {
    const tooLarge = server.socket.of("call").some(({ name }) => name === "b");
    if (tooLarge) {
      await server.socket.drop(1009, "message too big");
      await nextAttempt(around);
      await server.accept();
      await answerJoin(server.socket, { epoch: "k3", offset: 41, recovered: true });
    } else {
      for (const { ref } of server.socket.of("call")) await server.socket.say({ type: "result", ref: ref ?? 0, payload: "ok" });
    }
  }
  expect(large.now).toMatchObject({ code: "too_large", retry: false });
  for (const { ref } of server.socket.of("call")) await server.socket.say({ type: "result", ref: ref ?? 0, payload: "ok" });
  expect(small.now).toBe("ok");
  expect(server.sockets.length).toBeLessThanOrEqual(4);
});

test("a connection that breaks otherwise in between clears the suspicion of a call that is too large", async () => {
  const around = await inRoom();
  const { room, server } = around;
  const call = outcome(room.call("a"));
  await settle();
  for (const code of [1009, 1006, 1009]) {
    await server.socket.drop(code);
    await nextAttempt(around);
    await server.accept();
    await answerJoin(server.socket, { epoch: "k3", offset: 41, recovered: true });
  }
  expect(call.now).toBe("pending");
  expect(server.socket.of("call").length).toBe(1);
});

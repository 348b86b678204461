import { beforeAll, expect, test } from "vitest";

import type { ConnectOptions } from "../src/index.js";
import { settle } from "./clock.js";
import { FakeHttp, wire, type FakeRequest } from "./http.js";
import { failure, posted, watch, world, type World } from "./world.js";

const LIMITS = { message_bytes: 65_536, topics: 100, calls: 32 };

// The client loads it when it needs it, which takes real time when it is the first to.
beforeAll(async () => {
  await import("../src/fallback.js");
});

function welcome(user: string | null = "7"): object {
  return { type: "welcome", payload: { session: "s1", user, heartbeat: 25, limits: LIMITS } };
}

function joined(ref: number, topic: string, payload: object): object {
  return { type: "joined", ref, topic, payload };
}

interface Streaming extends World {
  readonly http: FakeHttp;
}

function streaming(options: ConnectOptions = {}): Streaming {
  const http = new FakeHttp();
  return { http, ...world({ transports: ["sse"], fetch: http.fetch, ...options }) };
}

/** Answer the stream that the client opens next. */
async function accept({ http }: Streaming, ...frames: readonly object[]): Promise<FakeRequest> {
  await wire();
  const request = http.last("sse");
  await request.openStream();
  await request.say(welcome(), ...frames);
  return request;
}

/** A client that is in the room, at offset 41. */
async function inRoom(options: ConnectOptions = {}) {
  const around = streaming(options);
  const room = around.live.topic("rooms/lobby");
  const watched = watch(room);
  await accept(around);
  await around.clock.advance(10);
  const stream = await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41 }));
  return { ...around, ...watched, room, stream };
}

test("a stream is opened, and replaced by one for the topics that are joined", async () => {
  const { http, live, stream, story } = await inRoom();
  expect(http.to("sse").map(({ topics }) => topics)).toEqual([[], ["rooms/lobby"]]);
  expect(stream.url.pathname).toBe("/live/sse");
  expect(stream.url.searchParams.get("client")).toBe(live.client);
  expect(http.to("sse")[0]?.aborted).toBe(true);
  expect(live.state).toMatchObject({ status: "online", transport: "sse", user: "7" });
  expect(story).toEqual(["joined"]);
});

test("a change of topics leaves no gap and repeats nothing", async () => {
  const around = await inRoom();
  const { http, live, stream, seen, story, clock } = around;
  await stream.say(posted(42));
  const other = watch(live.topic("rooms/other"));
  await clock.advance(10);
  await wire();
  const next = http.last("sse");
  expect(next.topics).toEqual(["rooms/lobby", "rooms/other"]);
  expect(next.url.searchParams.get("last-event-id")).toBe("1@k3:42");
  await stream.say(posted(43)); // the old one goes on until the new one is there
  await next.openStream();
  await next.say(
    welcome(),
    joined(1, "rooms/lobby", { epoch: "k3", offset: 43, recovered: true }),
    joined(2, "rooms/other", { epoch: "k9", offset: 3 }),
    posted(43),
    posted(44),
  );
  expect(stream.aborted).toBe(true);
  expect(seen).toEqual([42, 43, 44]);
  expect(story).toEqual(["joined"]);
  expect(other.story).toEqual(["joined"]);
});

test("what the new stream could not continue is a reset, and who may not stay leaves", async () => {
  const around = await inRoom();
  const { http, live, story, clock } = around;
  const gone = watch(live.topic("rooms/gone"));
  await clock.advance(10);
  await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41, recovered: true }), joined(2, "rooms/gone", {}));
  live.topic("rooms/third");
  await clock.advance(10);
  await accept(
    around,
    joined(1, "rooms/lobby", { epoch: "k3", offset: 90, recovered: false }),
    { type: "error", ref: 2, topic: "rooms/gone", payload: { code: "forbidden", message: "no" } },
    joined(3, "rooms/third", {}),
  );
  expect(story).toEqual(["joined", "reset trimmed"]);
  expect(gone.story).toEqual(["joined", "left forbidden"]);
  expect(http.to("sse")).toHaveLength(4);
});

test("a join whose answer comes after the next stream was asked for is answered by that one", async () => {
  const around = streaming();
  const { live, clock } = around;
  const { seen, story } = watch(live.topic("rooms/lobby"));
  await accept(around);
  await clock.advance(10);
  await wire();
  const first = around.http.last("sse");
  const other = watch(live.topic("rooms/other"));
  await first.openStream();
  await first.say(welcome()); // and the join of rooms/lobby takes its time
  await clock.advance(10);
  await wire();
  const next = around.http.last("sse");
  expect(next.topics).toEqual(["rooms/lobby", "rooms/other"]);
  expect(next.url.searchParams.get("last-event-id")).toBeNull();
  await first.say(joined(1, "rooms/lobby", { epoch: "k3", offset: 2 }), posted(3));
  await next.openStream();
  await next.say(welcome(), joined(1, "rooms/lobby", { epoch: "k3", offset: 3 }), joined(2, "rooms/other", {}), posted(4));
  expect(story).toEqual(["joined"]);
  expect(other.story).toEqual(["joined"]);
  expect(seen).toEqual([4]);
});

test("joins and leaves of one turn make one stream", async () => {
  const { http, live, room, clock } = await inRoom();
  const before = http.to("sse").length;
  live.topic("a");
  live.topic("b");
  room.leave();
  await clock.advance(100);
  await wire();
  expect(http.to("sse").slice(before).map(({ topics }) => topics)).toEqual([["a", "b"]]);
});

test("calls of one topic are posted one after the other, and answered", async () => {
  const { http, live, room } = await inRoom();
  const first = room.call("post", { body: "1" });
  const second = failure(room.call("post", { body: "2" }));
  await wire();
  expect(http.to("call")).toHaveLength(1);
  expect(http.last("call").body).toEqual({
    topic: "rooms/lobby", name: "post", key: `${live.client}-1`, client: live.client, payload: { body: "1" },
  });
  await http.last("call").answer(200, { type: "result", payload: 913 });
  expect(await first).toBe(913);
  expect(http.to("call")).toHaveLength(2);
  await http.last("call").answer(409, { type: "error", payload: { code: "refused", message: "no", reason: "closed" } });
  expect(await second).toMatchObject({ code: "refused", reason: "closed" });
});

test("a call that was lost on its way is sent again with its key on the next connection", async () => {
  const around = await inRoom();
  const { http, room, clock, live } = around;
  const call = room.call("post", { body: "hi" });
  await wire();
  await http.last("call").fail();
  expect(live.status).toBe("waiting");
  await clock.advance(500);
  await accept(around);
  await clock.advance(10);
  const stream = await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41, recovered: true }));
  expect(stream.url.searchParams.get("last-event-id")).toBe("1@k3:41");
  const keys = http.to("call").map(({ body }) => body?.["key"]);
  expect(keys).toEqual([`${live.client}-1`, `${live.client}-1`]);
  await http.last("call").answer(200, { type: "result", payload: 1 });
  expect(await call).toBe(1);
});

test("a call whose request hangs while the stream goes on is sent again with its key", async () => {
  const around = await inRoom();
  const { http, room, clock, live, stream } = around;
  const call = room.call("post", { body: "hi" });
  await wire();
  for (let seconds = 0; seconds < 60; seconds += 10) {
    expect(live.status).toBe("online");
    await stream.write(": \n\n");
    await clock.advance(10_000);
  }
  await wire();
  expect(http.last("call").aborted).toBe(true);
  expect(live.status).toBe("waiting");
  await clock.advance(500);
  await accept(around);
  await clock.advance(10);
  await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41, recovered: true }));
  expect(http.to("call").map(({ body }) => body?.["key"])).toEqual([`${live.client}-1`, `${live.client}-1`]);
  await http.last("call").answer(200, { type: "result", payload: 1 });
  expect(await call).toBe(1);
});

test("the token goes in Authorization, and a refresh replaces it for the stream that follows", async () => {
  const around = await inRoom({ token: "one" });
  const { live, stream, clock, room, http } = around;
  expect(stream.headers.get("authorization")).toBe("Bearer one");
  const refreshed = live.refresh("two");
  await clock.advance(10);
  const next = await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41, recovered: true }));
  expect(next.headers.get("authorization")).toBe("Bearer two");
  await refreshed;
  void failure(room.call("post", {}));
  await wire();
  expect(http.last("call").headers.get("authorization")).toBe("Bearer two");
  live.close();
});

test("a token that is not valid changes nothing", async () => {
  const { live, clock, http, room } = await inRoom({ token: "one" });
  const refused = failure(live.refresh("bad"));
  await clock.advance(10);
  await wire();
  await http.last("sse").answer(401, "no", { "holdfast-code": "unauthenticated" });
  expect((await refused).code).toBe("invalid_token");
  expect(live.status).toBe("online");
  expect(room.status).toBe("joined");
  live.close();
});

test("while a new token is checked, calls go with the one that is known to be valid", async () => {
  const { live, clock, http, room } = await inRoom({ token: "one" });
  const refused = failure(live.refresh("bad"));
  await clock.advance(10);
  void failure(room.call("post", {}));
  await wire();
  expect(http.last("call").headers.get("authorization")).toBe("Bearer one");
  await http.last("sse").answer(401, "no", { "holdfast-code": "unauthenticated" });
  expect((await refused).code).toBe("invalid_token");
  live.close();
});

test("a stream that was asked for before the refresh says nothing of the new token", async () => {
  const around = await inRoom({ token: "one" });
  const { live, clock, http } = around;
  live.topic("rooms/other");
  await clock.advance(10);
  await wire();
  const refused = failure(live.refresh("bad"));
  await accept(around, joined(1, "rooms/lobby", { epoch: "k3", offset: 41, recovered: true }), joined(2, "rooms/other", {}));
  await clock.advance(10);
  await wire();
  expect(http.last("sse").headers.get("authorization")).toBe("Bearer bad");
  await http.last("sse").answer(401, "no", { "holdfast-code": "unauthenticated" });
  expect((await refused).code).toBe("invalid_token");
  expect(live.status).toBe("online");
  live.close();
});

test.each([
  [401, { "holdfast-code": "unauthenticated" }, "closed", "unauthenticated"],
  [401, { "holdfast-code": "token_expired" }, "waiting", "token_expired"],
  [403, { "holdfast-code": "origin_refused" }, "closed", "origin_refused"],
  [403, {}, "waiting", "connection_lost"],
  [502, {}, "waiting", "connection_lost"],
])("a stream that is refused with %i and %j ends in %s with %s", async (status, headers, ending, code) => {
  const { http, live } = streaming();
  live.topic("rooms/lobby");
  await wire();
  await http.last("sse").answer(status, "no", headers);
  expect(live.state).toMatchObject({ status: ending, error: { code } });
});

test("the client comes back when Retry-After says so, and not sooner", async () => {
  const { http, live, statuses } = streaming();
  live.topic("rooms/lobby");
  await wire();
  await http.last("sse").answer(429, "slowly", { "retry-after": "7", "holdfast-code": "rate_limited" });
  expect(statuses.at(-1)).toBe("waiting 7000");
});

test("a goodbye counts for more than the end of the stream after it", async () => {
  const { stream, live, statuses } = await inRoom();
  await stream.write("retry: 2000\n\n");
  await stream.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 3 } });
  await stream.end();
  expect(live.state.error?.code).toBe("draining");
  expect(statuses.at(-1)).toBe("waiting 3000");
});

test("a stream that breaks off is come back to after the time of its `retry`", async () => {
  const { stream, statuses } = await inRoom();
  await stream.write("retry: 2718\n\n");
  await stream.end();
  expect(statuses.at(-1)).toBe("waiting 2718");
});

test("a stream that is silent for longer than a heartbeat is given up", async () => {
  const { stream, live, clock } = await inRoom();
  for (let beat = 0; beat < 4; beat++) {
    await clock.advance(25_000);
    await stream.write(":\n\n");
  }
  expect(live.status).toBe("online");
  await clock.advance(60_000);
  expect(live.state.error?.code).toBe("heartbeat_missed");
});

test("after a sleep a stream has a few seconds to show that it lives", async () => {
  const page = { window: new EventTarget(), document: undefined };
  const { live, clock } = await inRoom({ page });
  clock.suspend(3_600_000);
  page.window.dispatchEvent(new Event("online"));
  await clock.advance(5_000);
  expect(live.state.error?.code).toBe("heartbeat_missed");
});

test("another user on the next stream is a new connection", async () => {
  const around = await inRoom();
  around.live.topic("rooms/other");
  await around.clock.advance(10);
  await wire();
  const request = around.http.last("sse");
  await request.openStream();
  await request.say(welcome("9"));
  expect(around.live.status).toBe("waiting");
});

test("after close() nothing is left: no timer, no request", async () => {
  const { live, clock, http, room } = await inRoom();
  void failure(room.call("post", {}));
  live.topic("rooms/other");
  await wire();
  live.close();
  await wire();
  expect(clock.waiting).toBe(0);
  expect(http.requests.every(({ aborted }) => aborted)).toBe(true);
});

// ── polling ──────────────────────────────────────────────────────────────────────────────────────

async function polled(http: FakeHttp, session: string, ack: number, ...messages: readonly object[]): Promise<FakeRequest> {
  await wire();
  const request = http.last("poll");
  await request.answer(200, { session, ack, last: "", messages });
  return request;
}

async function pollingRoom(options: ConnectOptions = {}) {
  const around = streaming({ transports: ["polling"], ...options });
  const room = around.live.topic("rooms/lobby");
  const watched = watch(room);
  await polled(around.http, "s1", 1, welcome());
  await around.clock.advance(10);
  await polled(around.http, "s2", 1, welcome(), joined(1, "rooms/lobby", { epoch: "k3", offset: 41 }));
  return { ...around, ...watched, room };
}

test("polling asks again with what it has read", async () => {
  const { http, seen, live } = await pollingRoom();
  await polled(http, "s2", 2, posted(42), posted(43));
  expect(seen).toEqual([42, 43]);
  expect(live.state.transport).toBe("polling");
  const { searchParams } = http.last("poll").url;
  expect(Object.fromEntries(searchParams)).toMatchObject({ session: "s2", ack: "2", "last-event-id": "1@k3:43", topic: "rooms/lobby" });
});

test("a poll that another process answers goes on where it was", async () => {
  const { http, seen, story, live } = await pollingRoom();
  await polled(http, "s3", 1, welcome(), joined(1, "rooms/lobby", { epoch: "k3", offset: 42, recovered: true }), posted(42));
  expect(seen).toEqual([42]);
  expect(story).toEqual(["joined"]);
  expect(live.status).toBe("online");
});

test("a change of topics gives up the request that waits", async () => {
  const { http, live, clock } = await pollingRoom();
  const waiting = http.last("poll");
  live.topic("rooms/other");
  await clock.advance(10);
  await wire();
  expect(waiting.aborted).toBe(true);
  expect(http.last("poll").topics).toEqual(["rooms/lobby", "rooms/other"]);
  expect(http.last("poll").url.searchParams.has("session")).toBe(false);
});

test("a token that is not valid ends no polling", async () => {
  const { http, live, clock, seen } = await pollingRoom({ token: "one" });
  const refused = failure(live.refresh("bad"));
  await clock.advance(10);
  await wire();
  await http.last("poll").answer(401, "no", { "holdfast-code": "unauthenticated" });
  expect((await refused).code).toBe("invalid_token");
  await clock.advance(10);
  await polled(http, "s3", 1, welcome(), joined(1, "rooms/lobby", { epoch: "k3", offset: 42, recovered: true }), posted(42));
  expect([live.status, seen, http.last("poll").headers.get("authorization")]).toEqual(["online", [42], "Bearer one"]);
  live.close();
});

test("a goodbye ends polling", async () => {
  const { http, live, statuses } = await pollingRoom();
  await polled(http, "s2", 2, { type: "goodbye", payload: { code: "draining", reconnect: true, after: 4 } });
  expect(statuses.at(-1)).toBe("waiting 4000");
  live.close();
  await settle();
});

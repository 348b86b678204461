import { expect, test, vi } from "vitest";

import { connect, type ConnectOptions } from "../src/index.js";
import { ManualClock, settle } from "./clock.js";
import { textOf } from "../src/texts.js";
import { answerJoin, failure, inRoom, nextAttempt, posted, refuse, world } from "./world.js";

test("nothing is opened before a topic is asked for", async () => {
  const { live, server } = world();
  await settle();
  expect(live.status).toBe("idle");
  expect(server.sockets).toEqual([]);
});

test("the JSON subprotocol is offered, and others after it", async () => {
  const { live, server } = world({ protocols: ["company.token.abc"] });
  live.topic("rooms/lobby");
  await settle();
  expect(server.socket.protocols).toEqual(["holdfast.v1.json", "company.token.abc"]);
});

test("hello names the client and comes first; joins wait for the welcome", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby");
  await settle();
  await server.socket.open();
  expect(server.socket.sent).toEqual([{ type: "hello", payload: { client: live.client } }]);
  await server.socket.welcome();
  expect(server.socket.look()).toEqual([{ type: "join", topic: "rooms/lobby", ref: 1 }]);
});

test("the client's name is 128 random bits, and new for each client", () => {
  const { live } = world();
  expect(live.client).toMatch(/^\d{1,10}(-\d{1,10}){3}$/);
  expect(world().live.client).not.toBe(live.client);
});

test("the name stays the same on the next connection", async () => {
  const { live, server, socket, clock } = await inRoom();
  await socket.drop();
  await clock.advance(1_000);
  await server.accept();
  expect(server.socket.sent[0]?.payload).toEqual({ client: live.client });
});

test("the user is known after the welcome", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby");
  expect(live.user).toBeUndefined();
  await server.accept({ user: null });
  expect(live.user).toBeNull();
});

test("status tells each step", async () => {
  const { statuses, socket, clock, server, live } = await inRoom();
  await socket.drop();
  await clock.advance(500);
  await server.accept();
  live.close();
  expect(statuses).toEqual(["connecting", "online", "waiting 500", "connecting", "online", "closed"]);
});

test("url and token may be functions, asked at every attempt", async () => {
  let attempt = 0;
  const { live, server, clock } = world({
    url: () => `ws://server/${++attempt}`,
    token: async () => Promise.resolve(`token ${attempt}`),
  });
  live.topic("rooms/lobby");
  await server.accept();
  await server.socket.drop();
  await clock.advance(1_000);
  await server.accept();
  expect(server.sockets.map(({ url }) => url)).toEqual(["ws://server/1", "ws://server/2"]);
  expect(server.sockets.map(({ sent }) => sent[0]?.payload?.["token"])).toEqual(["token 1", "token 2"]);
});

test("after token_expired the client asks for a newer token and goes on where it was", async () => {
  let asked = 0;
  const around = await inRoom({ token: () => `token ${++asked}` });
  await around.socket.say({ type: "goodbye", payload: { code: "token_expired", reconnect: true } });
  await around.socket.drop(4041);
  expect(around.live.state.error).toMatchObject({ code: "token_expired", retry: true });
  await nextAttempt(around);
  const socket = await around.server.accept();
  expect(socket.sent[0]?.payload).toMatchObject({ token: "token 2" });
  expect(socket.of("join")[0]?.payload).toEqual({ since: { epoch: "k3", offset: 41 } });
});

test("a token that cannot be had now is asked for again later", async () => {
  let attempts = 0;
  const { live, statuses, clock, server } = world({
    token: () => {
      if (++attempts === 1) throw new Error("the token service is away");
      return "t";
    },
  });
  live.topic("rooms/lobby");
  await settle();
  expect(statuses).toEqual(["connecting", "waiting 500"]);
  await clock.advance(500);
  await server.accept();
  expect(live.status).toBe("online");
});

test("an attempt that hangs is given up after the connect timeout, wherever it hangs", async () => {
  const { live, server, clock, statuses } = world({ connectTimeout: 5_000 });
  live.topic("rooms/lobby");
  await settle();
  await server.socket.open();
  await clock.advance(5_000);
  expect(statuses).toEqual(["connecting", "waiting 500"]);
  expect(server.socket.closedWith).toBe(1000);
});

test("a url function that never answers does not hold up the next attempt", async () => {
  const answers: ((url: string) => void)[] = [];
  const { live, server, clock } = world({ url: async () => new Promise((resolve) => answers.push(resolve)) });
  live.topic("rooms/lobby");
  await clock.advance(10_500);
  expect(answers).toHaveLength(2);
  answers[0]?.("ws://server/late");
  await settle();
  expect(server.sockets).toEqual([]);
  answers[1]?.("ws://server/live/ws");
  await settle();
  expect(server.sockets).toHaveLength(1);
});

test("a URL that can never work is final, and says so", async () => {
  const { live, statuses } = world({ url: "http://[" });
  const room = live.topic("rooms/lobby");
  expect(await failure(room.ready)).toMatchObject({ code: "invalid_url" });
  expect(statuses).toEqual(["connecting", "closed"]);
});

test("http addresses become ws addresses", async () => {
  const { live, server } = world({ url: "https://example.org/live/ws" });
  live.topic("rooms/lobby");
  await settle();
  expect(server.socket.url).toBe("wss://example.org/live/ws");
});

test("failing attempts back off, doubling", async () => {
  const around = world();
  const { live, server, statuses } = around;
  live.topic("rooms/lobby");
  await settle();
  for (let attempt = 0; attempt < 4; attempt++) {
    await server.socket.drop();
    await nextAttempt(around);
  }
  expect(statuses.filter((status) => status.startsWith("waiting"))).toEqual([
    "waiting 500",
    "waiting 1000",
    "waiting 2000",
    "waiting 4000",
  ]);
});

test("a server that welcomes and drops at once is backed off from too", async () => {
  const around = world();
  const { live, server, statuses } = around;
  live.topic("rooms/lobby");
  for (let attempt = 0; attempt < 3; attempt++) {
    await (await server.accept()).drop();
    await nextAttempt(around);
  }
  expect(statuses.filter((status) => status.startsWith("waiting"))).toEqual(["waiting 500", "waiting 1000", "waiting 2000"]);
});

test("a connection that lasted ends a row of failures", async () => {
  const around = world();
  const { live, server, clock, statuses } = around;
  live.topic("rooms/lobby");
  await settle();
  for (let attempt = 0; attempt < 3; attempt++) {
    await server.socket.drop();
    await nextAttempt(around);
  }
  await server.accept();
  await clock.advance(10_000);
  statuses.length = 0;
  await server.socket.drop();
  expect(statuses).toEqual(["waiting 500"]);
});

test("a goodbye says how long to wait", async () => {
  const { socket, statuses } = await inRoom();
  await socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 3.2 } });
  await socket.drop(4000);
  expect(statuses.at(-1)).toBe("waiting 3200");
});

test("a goodbye without return is final, whatever the close code", async () => {
  const { socket, live } = await inRoom();
  await socket.say({ type: "goodbye", payload: { code: "disconnected", reconnect: false } });
  await socket.drop(1006);
  expect(live.status).toBe("closed");
});

test("a final close code stops, rejects what waits and tells why", async () => {
  const { live, socket, room, clock, server } = await inRoom();
  const details: unknown[] = [];
  live.on("status", (_, { error }) => details.push(error?.code));
  const call = failure(room.call("post"));
  await socket.drop(4401);
  await clock.advance(600_000);
  expect(server.sockets).toHaveLength(1);
  expect(details).toEqual(["unauthenticated"]);
  expect((await call).code).toBe("unauthenticated");
  expect(await failure(room.call("post"))).toMatchObject({ code: "unauthenticated" });
});

test("after a final close reconnect() comes back, and topics go on from their positions", async () => {
  const { live, socket, room, server, seen } = await inRoom();
  await socket.say(posted(42));
  await socket.drop(4401);
  live.reconnect();
  await server.accept();
  expect(server.socket.look()).toMatchObject([{ type: "join", payload: { since: { epoch: "k3", offset: 42 } } }]);
  await answerJoin(server.socket, { epoch: "k3", offset: 43, recovered: true });
  await server.socket.say(posted(43));
  expect(seen).toEqual([42, 43]);
  const call = room.call("post");
  await settle();
  await server.socket.say({ type: "result", ref: 2, payload: "ok" });
  expect(await call).toBe("ok");
});

test("a topic asked for after a final close is rejected with its error, until reconnect()", async () => {
  const { live, socket, server } = await inRoom();
  await socket.drop(4401);
  const room = live.topic("rooms/captains");
  expect((await failure(room.ready)).code).toBe("unauthenticated");
  expect((await failure(room.call("post"))).code).toBe("unauthenticated");
  expect(room.state).toMatchObject({ status: "joining", error: { code: "unauthenticated" } });
  live.reconnect();
  const ready = room.ready;
  const call = room.call("post");
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 1 });
  expect((await ready).topic).toBe("rooms/captains");
  expect(room.state.error).toBeUndefined();
  await server.socket.say({ type: "result", ref: server.socket.of("call")[0]?.ref ?? 0, payload: "ok" });
  expect(await call).toBe("ok");
});

test("reconnect() while waiting does not wait", async () => {
  const { live, socket, server, clock } = await inRoom();
  await socket.drop();
  live.reconnect();
  await settle();
  expect(server.sockets).toHaveLength(2);
  await clock.advance(600);
  expect(server.sockets).toHaveLength(2);
});

test("reconnect() while online takes a new connection and leaves the old one", async () => {
  const { live, socket, server, seen } = await inRoom();
  live.reconnect();
  await server.accept();
  expect(socket.closedWith).toBe(1000);
  await socket.say(posted(42));
  expect(seen).toEqual([]);
});

test("close() ends topics and calls, and leaves no timer and no listener behind", async () => {
  const page = { window: new EventTarget() };
  const remove = vi.spyOn(page.window, "removeEventListener");
  const { live, room, socket, story, clock } = await inRoom({ page });
  const call = failure(room.call("post", {}, { timeout: 1_000 }));
  live.close();
  live.close();
  expect((await call).code).toBe("closed");
  expect(socket.closedWith).toBe(1000);
  expect(story.at(-1)).toBe("left closed");
  expect(clock.waiting).toBe(0);
  expect(remove).toHaveBeenCalled();
  expect(() => live.topic("rooms/lobby")).toThrow("closed");
  expect(() => {
    live.reconnect();
  }).toThrow("closed");
});

test("close() from a status handler while coming online joins nothing", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby");
  live.on("status", (status) => {
    if (status === "online") live.close();
  });
  await server.accept();
  expect(server.socket.look()).toEqual([]);
  expect(live.status).toBe("closed");
});

test("a dead connection is replaced: nothing came after a ping", async () => {
  const { socket, clock, server, statuses } = await inRoom();
  await clock.advance(25_000);
  expect(socket.of("ping")).toHaveLength(1);
  await clock.advance(10_500);
  expect(statuses).toContain("waiting 500");
  expect(server.sockets).toHaveLength(2);
});

test("a message that cannot be read is not passed over: the client comes back and goes on from its position", async () => {
  const { socket, clock, server } = await inRoom();
  socket.onmessage?.({ data: '{"type":"event","topic":"rooms/lobby","offset":42' });
  await clock.advance(1_000);
  await server.accept();
  expect(server.socket.look()).toMatchObject([{ payload: { since: { offset: 41 } } }]);
});

test("messages of types that are not known are ignored", async () => {
  const { socket, live } = await inRoom();
  await socket.say({ type: "from_the_future" }, { type: "pong" });
  expect(live.status).toBe("online");
});

test("an error that answers nothing is told to the error handlers", async () => {
  const { live, socket } = await inRoom();
  const codes: string[] = [];
  live.on("error", ({ code, retryAfter }) => codes.push(`${code} ${retryAfter}`));
  await socket.say({ type: "error", payload: { code: "rate_limited", message: "slow down", retry_after: 0.8 } });
  expect(codes).toEqual(["rate_limited 0.8"]);
});

function page() {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  return { window: new EventTarget(), document };
}

async function waitingLong(options: ConnectOptions) {
  const around = world(options);
  around.live.topic("rooms/lobby");
  await settle();
  for (let attempt = 0; attempt < 5; attempt++) {
    await around.server.socket.drop();
    if (attempt < 4) await nextAttempt(around);
  }
  expect(around.statuses.at(-1)).toBe("waiting 8000");
  return around;
}

test.each(["online", "visibilitychange", "pageshow"])("%s hurries a wait, still with a random part", async (name) => {
  const source = page();
  const { statuses, clock, server } = await waitingLong({ page: source });
  const attempts = server.sockets.length;
  const target = name === "visibilitychange" ? source.document : source.window;
  target.dispatchEvent(Object.assign(new Event(name), { persisted: true }));
  expect(statuses.at(-1)).toBe("waiting 500");
  await clock.advance(500);
  expect(server.sockets).toHaveLength(attempts + 1);
});

test("a tab that is hidden hurries nothing", async () => {
  const source = page();
  const { statuses } = await waitingLong({ page: source });
  source.document.visibilityState = "hidden";
  source.document.dispatchEvent(new Event("visibilitychange"));
  source.window.dispatchEvent(new Event("pageshow"));
  expect(statuses.at(-1)).toBe("waiting 8000");
});

test("a wait is never made longer, nor the one that the server asked for shorter", async () => {
  const source = page();
  const { socket, statuses } = await inRoom({ page: source });
  await socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 8 } });
  await socket.drop(4000);
  source.window.dispatchEvent(new Event("online"));
  expect(statuses.at(-1)).toBe("waiting 8000");
  const other = await inRoom({ page: source });
  await other.socket.drop();
  await other.clock.advance(100);
  source.window.dispatchEvent(new Event("online"));
  expect(other.statuses.at(-1)).toBe("waiting 500");
});

test("a wait whose end passed while the machine was suspended ends with the wake-up", async () => {
  const source = page();
  const { statuses, clock, server } = await waitingLong({ page: source });
  const attempts = server.sockets.length;
  clock.suspend(3_600_000);
  source.window.dispatchEvent(new Event("online"));
  await settle();
  expect(server.sockets).toHaveLength(attempts + 1);
  expect(statuses.at(-1)).toBe("connecting");
  await clock.advance(8_000);
  expect(server.sockets).toHaveLength(attempts + 1); // the old timer is gone
});

test("so does the wait that the server asked for", async () => {
  const source = page();
  const { socket, clock, server } = await inRoom({ page: source });
  await socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 8 } });
  await socket.drop(4000);
  clock.suspend(3_600_000);
  source.window.dispatchEvent(new Event("online"));
  await settle();
  expect(server.sockets).toHaveLength(2);
});

test("waking up while online asks at once whether the connection lives", async () => {
  const source = page();
  const { socket, clock, server } = await inRoom({ page: source });
  source.window.dispatchEvent(new Event("online"));
  expect(socket.of("ping")).toHaveLength(1);
  await clock.advance(10_500);
  expect(server.sockets).toHaveLength(2);
});

test("when another user is welcomed nothing of the first one is done in their name", async () => {
  const { live, server, clock, socket } = await inRoom();
  const inbox = live.topic("inbox/me");
  await answerJoin(socket, { epoch: "k9", offset: 100 }, "inbox/7");
  const call = failure(inbox.call("read"));
  await socket.drop();
  await clock.advance(1_000);
  await server.accept({ user: "8" });
  expect((await call).code).toBe("user_changed");
  const joins = server.socket.look();
  expect(joins).toEqual([
    { type: "join", ref: 1, topic: "rooms/lobby", payload: { since: { epoch: "k3", offset: 41 } } },
    { type: "join", ref: 2, topic: "inbox/me" }, // inbox/8 is another log
  ]);
});

test("refresh gives the server a newer token", async () => {
  const { live, socket } = await inRoom();
  const done = live.refresh("new");
  await settle();
  expect(socket.look().at(-1)).toEqual({ type: "refresh", ref: 2, payload: { token: "new" } });
  await socket.say({ type: "result", ref: 2, payload: { user: "7" } });
  await done;
});

test("refresh is rejected when the token is bad, when the connection goes and when there is none", async () => {
  const { live, socket } = await inRoom();
  const bad = failure(live.refresh("bad"));
  await settle();
  await refuse(socket, "refresh", "invalid_token");
  expect((await bad).code).toBe("invalid_token");
  const cut = failure(live.refresh("cut"));
  await settle();
  await socket.drop();
  expect((await cut).code).toBe("connection_lost");
  expect((await failure(live.refresh("away"))).code).toBe("connection_lost");
});

test("without options the browser's own parts are used", async () => {
  const { server } = world();
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("location", { href: "https://example.org/rooms/lobby/" });
  const live = connect({ clock: new ManualClock() });
  live.topic("rooms/lobby");
  await settle();
  expect(server.socket.url).toBe("wss://example.org/live/ws");
  live.close();
});

// ── what is wrong outside ────────────────────────────────────────────────────────────────────────

test.each([
  ["a welcome without payload", { type: "welcome" }],
  ["a welcome without limits", { type: "welcome", payload: { session: "s", user: null, heartbeat: 25 } }],
  ["a heartbeat of nothing", { type: "welcome", payload: { session: "s", user: null, heartbeat: 0, limits: {} } }],
  ["a heartbeat that is no number", { type: "welcome", payload: { session: "s", user: null, heartbeat: "a", limits: {} } }],
])("%s ends the attempt as malformed, and the next one comes with backoff", async (_, frame) => {
  const { live, server, statuses, clock } = world();
  const details: unknown[] = [];
  live.on("status", (_, { error }) => error && details.push(error.code));
  live.topic("rooms/lobby");
  await settle();
  await server.socket.open();
  await server.socket.say(frame);
  expect(statuses).toEqual(["connecting", "waiting 500"]);
  expect(details).toEqual(["malformed"]);
  await clock.advance(500);
  await server.accept();
  expect(live.status).toBe("online");
});

test.each(["joined", "error", "reset", "presence"])("a %s without payload is malformed, and stops nothing", async (type) => {
  const { socket, server, clock, live, room } = await inRoom();
  if (type === "joined") live.topic("rooms/other");
  if (type === "error") void room.call("post");
  await settle();
  await socket.say({ type, topic: type === "joined" ? "rooms/other" : "rooms/lobby", ref: 2 } as { type: string });
  expect(live.status).toBe("waiting");
  await clock.advance(1_000);
  await server.accept();
  expect(live.status).toBe("online");
});

test.each(["event", "left", "goodbye", "result"])("a %s without payload is none, and stops nothing", async (type) => {
  const { socket, live } = await inRoom();
  await socket.say({ type, topic: "rooms/lobby", ref: 9, name: "x" } as { type: string });
  expect(live.status).toBe("online");
});

test("a second welcome leaves one heartbeat, not two", async () => {
  const { socket, clock } = await inRoom();
  await socket.welcome();
  await clock.advance(25_000);
  expect(socket.of("ping")).toHaveLength(1);
});

test.each([0, -5, "soon", null, Infinity])("a goodbye after %s is backed off from like any other end", async (after) => {
  const around = world();
  around.live.topic("rooms/lobby");
  for (let attempt = 0; attempt < 4; attempt++) {
    const socket = await around.server.accept();
    const text = `{"type":"goodbye","payload":{"code":"draining","reconnect":true,"after":${JSON.stringify(after)}}}`;
    socket.onmessage?.({ data: after === Infinity ? text.replace("null", "1e999") : text });
    await socket.drop(4000);
    if (attempt < 3) await nextAttempt(around);
  }
  const waits = around.statuses.filter((status) => status.startsWith("waiting"));
  expect(waits).toEqual(["waiting 500", "waiting 1000", "waiting 2000", "waiting 4000"]);
});

test("a server that keeps asking for a short wait is backed off from as well", async () => {
  const around = world();
  around.live.topic("rooms/lobby");
  for (let attempt = 0; attempt < 4; attempt++) {
    const socket = await around.server.accept();
    await socket.say({ type: "goodbye", payload: { code: "draining", reconnect: true, after: 0.7 } });
    await socket.drop(4000);
    if (attempt < 3) await nextAttempt(around);
  }
  const waits = around.statuses.filter((status) => status.startsWith("waiting"));
  expect(waits).toEqual(["waiting 700", "waiting 1000", "waiting 2000", "waiting 4000"]);
});

test.each([undefined, NaN, 0, -1, Infinity, "1000"])("a backoff of %s is the default one", async (value) => {
  const { live, server, statuses } = world({ backoff: { base: value, cap: value } as object });
  live.topic("rooms/lobby");
  await settle();
  await server.socket.drop();
  expect(statuses.at(-1)).toBe("waiting 500");
});

test.each([0, -1, NaN, "soon"])("a call that is put off for %s seconds is not sent again at once", async (after) => {
  const { room, socket, clock } = await inRoom();
  void room.call("post");
  await settle();
  await refuse(socket, "call", "too_many_calls", { retry_after: after });
  await clock.advance(999);
  expect(socket.of("call")).toHaveLength(1);
});

test("a relative URL is that of the page that connected, however the page's address changes", async () => {
  const { server } = world();
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("location", { href: "https://example.org/rooms/lobby/" });
  const clock = new ManualClock();
  const live = connect({ clock, url: "live", random: () => 0.5 });
  const asked = connect({ clock, url: () => "asked", random: () => 0.5 });
  vi.stubGlobal("location", { href: "https://example.org/elsewhere/" }); // history.pushState
  live.topic("rooms/lobby");
  asked.topic("rooms/lobby");
  await settle();
  await server.socket.drop();
  await clock.advance(10_500);
  expect([...new Set(server.sockets.map(({ url }) => url))].sort()).toEqual([
    "wss://example.org/rooms/lobby/asked",
    "wss://example.org/rooms/lobby/live",
  ]);
  live.close();
  asked.close();
});

test("a page with a base address goes by that", async () => {
  const { server } = world();
  vi.stubGlobal("WebSocket", server.WebSocket);
  vi.stubGlobal("location", { href: "about:srcdoc" });
  vi.stubGlobal("document", { baseURI: "https://example.org/app/", querySelector: () => null });
  const live = connect({ clock: new ManualClock(), url: "live", page: {} });
  live.topic("rooms/lobby");
  await settle();
  expect(server.socket.url).toBe("wss://example.org/app/live");
  live.close();
});

test("without a WebSocket the client says that there is none, and does not try again", async () => {
  vi.stubGlobal("WebSocket", undefined);
  const live = connect({ clock: new ManualClock(), url: "ws://server/live/ws", transports: ["websocket"] });
  const room = live.topic("rooms/lobby");
  const error = await failure(room.ready);
  expect(error.code).toBe("no_websocket");
  expect(textOf(error)).toContain("options.WebSocket");
  expect(live.status).toBe("closed");
});

test("an error without a close, as Chromium gives for what a content security policy blocks, ends the attempt", async () => {
  const { live, server, statuses } = world();
  live.topic("rooms/lobby");
  await settle();
  server.socket.onerror?.({});
  await new Promise((resolve) => setTimeout(resolve)); // a turn of the event loop
  await settle();
  expect(statuses).toEqual(["connecting", "waiting 500"]);
});

test("an error before a close leaves the word to the close", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby");
  await settle();
  server.socket.onerror?.({});
  await server.socket.drop(4401);
  await new Promise((resolve) => setTimeout(resolve));
  expect(live.status).toBe("closed");
});

test("a window that is none, as in React Native, disturbs nothing", async () => {
  const nothing = {} as Window;
  const { live, server } = world({ page: { window: nothing, document: undefined } });
  live.topic("rooms/lobby");
  await server.accept();
  expect(live.status).toBe("online");
  live.close();
  expect(live.status).toBe("closed");
});

import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";

import type { ConnectOptions } from "../src/index.js";
import { FakeHttp, wire } from "./http.js";
import { MemoryStorage } from "./pages.js";
import { posted, watch, world, type World } from "./world.js";

const LIMITS = { message_bytes: 65_536, topics: 100, calls: 32 };
const WELCOME = { type: "welcome", payload: { session: "s1", user: "7", heartbeat: 25, limits: LIMITS } };

let storage: MemoryStorage;

beforeAll(async () => {
  await import("../src/fallback.js");
});

beforeEach(() => {
  vi.stubGlobal("localStorage", (storage = new MemoryStorage()));
});

const open: World[] = [];

afterEach(() => {
  for (const { live } of open) live.close();
  for (const { clock } of open.splice(0)) expect(clock.waiting).toBe(0);
});

function joined(ref: number, topic: string, recovered: boolean) {
  return { type: "joined", ref, topic, payload: { epoch: "k3", offset: 41, ...(recovered && { recovered }) } } as const;
}

interface Network extends World {
  readonly http: FakeHttp;
  /** Whether each transport gets through. */
  readonly passes: { websocket: boolean; sse: boolean; polling: boolean };
  /** What was tried, in order. */
  readonly tried: string[];
}

/** A client on a network that refuses what does not pass. Every server that is reached welcomes. */
function network(passes: Partial<Network["passes"]>, options: ConnectOptions = {}): Network {
  const http = new FakeHttp();
  const around = world({ fetch: http.fetch, transports: ["websocket", "sse", "polling"], ...options });
  const network = { ...around, http, passes: { websocket: false, sse: false, polling: false, ...passes }, tried: [] as string[] };
  around.server.onconnect = (socket) => {
    network.tried.push("websocket");
    queueMicrotask(() => {
      void (network.passes.websocket ? socket.open().then(async () => socket.welcome()) : socket.drop());
    });
    socket.onsend = ({ type, ref = 0, topic = "", payload }) => {
      if (type === "join") queueMicrotask(() => void socket.say(joined(ref, topic, !!payload)));
    };
  };
  http.onrequest = (request) => {
    const { endpoint, topics } = request;
    network.tried.push(endpoint);
    const last = request.url.searchParams.get("last-event-id") ?? "";
    const answers = topics.map((topic, index) => joined(index + 1, topic, last.includes(`${index + 1}@`)));
    void (async () => {
      if (endpoint === "sse" && network.passes.sse) {
        await request.openStream();
        await request.say(WELCOME, ...answers);
      } else if (endpoint === "poll" && network.passes.polling) {
        if (!request.url.searchParams.has("session")) await request.answer(200, { session: "s", ack: 1, last: "", messages: [WELCOME, ...answers] });
      } else await request.fail();
    })();
  };
  open.push(network);
  return network;
}

async function pass({ clock }: World, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 100) {
    await clock.advance(100);
    await wire();
  }
}

test("a WebSocket that gets through is all that is tried", async () => {
  const around = network({ websocket: true, sse: true });
  around.live.topic("a");
  await pass(around, 1_000);
  expect(around.tried).toEqual(["websocket"]);
  expect(around.live.state.transport).toBe("websocket");
});

test.each([
  [{ sse: true, polling: true }, "sse"],
  [{ polling: true }, "polling"],
])("with %j the client takes the best that gets through, on one attempt, and remembers it", async (passes, name) => {
  const around = network(passes);
  around.live.topic("a");
  await pass(around, 1_000);
  expect(around.live.state).toMatchObject({ status: "online", transport: name });
  expect(around.statuses).toEqual(["connecting", "online"]);
  expect(storage.getItem("holdfast")).toMatch(new RegExp(`^${name}@\\d+$`));
  const next = network(passes, { clock: around.clock });
  next.live.topic("a");
  await pass(around, 1_000);
  expect(next.tried[0]).toBe(name === "sse" ? "sse" : "poll");
});

test("a server that is down proves nothing", async () => {
  const around = network({});
  around.live.topic("a");
  await pass(around, 5_000);
  expect(storage.getItem("holdfast")).toBeNull();
  Object.assign(around.passes, { websocket: true, sse: true, polling: true });
  await pass(around, 40_000);
  expect(around.live.state.transport).toBe("websocket");
  expect(storage.getItem("holdfast")).toBeNull();
});

test("what the server itself says by a WebSocket is an answer, and nothing else is tried", async () => {
  const around = network({ sse: true });
  around.server.onconnect = (socket) => {
    queueMicrotask(() => void socket.drop(4401));
  };
  around.live.topic("a");
  await pass(around, 1_000);
  expect(around.live.state).toMatchObject({ status: "closed", error: { code: "unauthenticated" } });
  expect(around.tried).toEqual([]);
});

test("a WebSocket that hangs is left after its share of the time", async () => {
  const around = network({ sse: true });
  around.server.onconnect = () => undefined;
  around.live.topic("a");
  await pass(around, 5_000);
  expect(around.statuses).toEqual(["connecting", "online"]);
  expect(around.server.socket.closedWith).toBe(1000);
});

test("it moves back up when a WebSocket gets through again, and loses and doubles nothing", async () => {
  const around = network({ sse: true });
  const room = around.live.topic("rooms/lobby");
  const { seen } = watch(room);
  await pass(around, 1_000);
  await around.http.last("sse").say(posted(42), posted(43));
  around.passes.websocket = true;
  await pass(around, 62_000);
  expect(around.live.state.transport).toBe("websocket");
  expect(storage.getItem("holdfast")).toBeNull();
  const join = around.server.socket.of("join")[0];
  expect(join?.payload).toEqual({ since: { epoch: "k3", offset: 43 } });
  await around.server.socket.say(posted(43), posted(44));
  expect(seen).toEqual([42, 43, 44]);
  expect(around.http.requests.every(({ aborted }) => aborted)).toBe(true);
});

test("a better transport is tried less and less often", async () => {
  const around = network({ sse: true });
  around.live.topic("a");
  await pass(around, 1_000);
  const beats = around.clock;
  const times: number[] = [];
  const began = beats.now();
  const { onconnect } = around.server;
  around.server.onconnect = (socket) => {
    times.push(Math.round((beats.now() - began) / 10_000));
    onconnect?.(socket);
  };
  for (let beat = 0; beat < 50; beat++) {
    await around.http.last("sse").write(":\n\n");
    await pass(around, 10_000);
  }
  expect(times).toEqual([6, 18, 42]);
});

test("a network that comes back is a reason to try at once", async () => {
  const page = { window: new EventTarget(), document: undefined };
  const around = network({ sse: true }, { page });
  around.live.topic("a");
  await pass(around, 20_000);
  around.passes.websocket = true;
  page.window.dispatchEvent(new Event("online"));
  await pass(around, 2_000);
  expect(around.live.state.transport).toBe("websocket");
});

test("a WebSocket that is cut off again and again soon after the welcome counts as blocked", async () => {
  const around = network({ websocket: true, sse: true });
  around.live.topic("a");
  for (let cut = 0; cut < 3; cut++) {
    await pass(around, 5_000);
    expect(around.live.state.transport).toBe("websocket");
    await around.server.socket.drop();
  }
  await pass(around, 5_000);
  expect(around.live.state.transport).toBe("sse");
});

test("with debug the console hears everything but tokens", async () => {
  const debug = vi.spyOn(console, "debug").mockImplementation(() => undefined);
  const around = network({ websocket: true }, { debug: true, token: "secret" });
  around.live.topic("a");
  await pass(around, 500);
  const told = debug.mock.calls.map((words) => words.join(" ")).join("\n");
  expect(told).toContain('"type":"hello"');
  expect(told).toContain('"type":"welcome"');
  expect(told).not.toContain("secret");
});

test("a storage that is disabled breaks nothing", async () => {
  vi.stubGlobal("localStorage", undefined);
  const around = network({ sse: true });
  around.live.topic("a");
  await pass(around, 1_000);
  expect(around.live.state.transport).toBe("sse");
});

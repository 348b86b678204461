// A page has one client for each URL, however often its script runs.

import { expect, test, vi } from "vitest";

import { connect } from "../src/index.js";
import { settle } from "./clock.js";
import { FakeServer } from "./server.js";

/** A page: what `connect()` finds in it, and a server. Each test has a URL of its own. */
function page(): FakeServer {
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible", querySelector: () => null }));
  const server = new FakeServer();
  vi.stubGlobal("WebSocket", server.WebSocket);
  return server;
}

test("a script that runs again gets the client that is there, and one connection serves all", async () => {
  const server = page();
  const script = () => {
    const live = connect({ url: "ws://one/", token: () => "t", backoff: { base: 500 }, protocols: ["x"] });
    live.topic("rooms/lobby");
    return live;
  };
  const live = script();
  expect(script()).toBe(live);
  await settle();
  expect(server.sockets).toHaveLength(1);
  live.close();
});

test("another URL, another token or another limit is another client", () => {
  page();
  const lives = [
    connect({ url: "ws://two/" }),
    connect({ url: "ws://three/" }),
    connect({ url: "ws://two/", token: "ada's" }),
    connect({ url: "ws://two/", token: "grace's" }),
    connect({ url: "ws://two/", maxCalls: 5 }),
    connect({ url: "ws://two/", shared: false }),
  ];
  expect(new Set(lives).size).toBe(lives.length);
  expect(connect({ url: "ws://two/", token: "ada's" })).toBe(lives[2]);
  for (const live of lives) live.close();
});

test("the token of the newest script counts at the next attempt", async () => {
  const server = page();
  const script = (token: string) => connect({ url: "ws://four/", token: () => token });
  const live = script("old");
  live.topic("rooms/lobby");
  script("new");
  live.reconnect();
  await settle();
  await server.socket.open();
  expect(server.socket.sent[0]?.payload?.["token"]).toBe("new");
  live.close();
});

test("a client that was closed is not shared any more", () => {
  page();
  const live = connect({ url: "ws://five/" });
  live.close();
  const other = connect({ url: "ws://five/" });
  expect(other).not.toBe(live);
  other.close();
});

test("a client that the server ended for good tries again for the next script", async () => {
  const server = page();
  const live = connect({ url: "ws://six/" });
  live.topic("rooms/lobby");
  await server.accept();
  await server.socket.drop(4401);
  expect(live.status).toBe("closed");
  expect(connect({ url: "ws://six/" })).toBe(live);
  expect(live.status).toBe("connecting");
  live.close();
});

test("without a page each call makes a client: a process may act for several users", () => {
  const lives = [connect({ url: "ws://seven/" }), connect({ url: "ws://seven/" })];
  expect(lives[0]).not.toBe(lives[1]);
  for (const live of lives) live.close();
});

import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { decode, encode, Json, type ClientFrame } from "../src/frames.js";
import { settle } from "./clock.js";
import { failure, world } from "./world.js";

interface Golden {
  readonly name: string;
  readonly direction: "client" | "server";
  readonly frame: { readonly type: string; readonly payload?: object };
  readonly json: string;
}

function golden(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../conformance/${file}`, import.meta.url), "utf8"));
}

const FRAMES = golden("frames.json") as readonly Golden[];
const SERVER = FRAMES.filter(({ direction }) => direction === "server");
const CLIENT = FRAMES.filter(({ direction }) => direction === "client");

test.each(SERVER)("the server's $name is read as the frame", ({ frame, json }) => {
  expect(decode(json)).toEqual(frame);
});

test.each(CLIENT)("the client's $name is written as the frame", ({ frame, json }) => {
  const written = frame.type === "call" && frame.payload ? { ...frame, payload: new Json(frame.payload) } : frame;
  const text = encode(written as ClientFrame);
  expect(JSON.parse(text)).toEqual(frame);
  expect(JSON.parse(json)).toEqual(frame);
});

test.each(SERVER)("a client that is online survives the server's $name", async ({ frame }) => {
  const { live, server } = world();
  for (const topic of ["rooms/lobby", "boards/9", "cursors/9", "inbox/me"]) live.topic(topic);
  await server.accept();
  await server.socket.say(frame);
  expect(live.status).toBe("online");
  live.close();
});

test.each(["", "hello", "[]", "null", '"pong"', '{"type":7}', "{}"])("%j is no message of a server", (text) => {
  expect(() => decode(text)).toThrow();
});

test.each([new ArrayBuffer(2), undefined])("%o is no text message", (data) => {
  expect(() => decode(data)).toThrow(TypeError);
});

test("what the client says of itself has the shape of the golden frames", async () => {
  const shapes = new Set(CLIENT.map(({ frame }) => Object.keys(frame).sort().join()));
  const { live, server } = world({ token: "t" });
  const room = live.topic("rooms/lobby", { since: { epoch: "k3", offset: 41 } });
  const calls = [failure(room.call("post", { body: "hi" })), failure(room.call("ring"))];
  await server.accept();
  await server.socket.say({ type: "joined", ref: 1, topic: "rooms/lobby", payload: {} });
  room.send("typing", {});
  void live.refresh("t2");
  await settle();
  room.leave();
  await Promise.all(calls);
  expect(server.socket.sent.map(({ type }) => type)).toEqual(["hello", "join", "call", "call", "call", "refresh", "leave"]);
  for (const frame of server.socket.sent) expect(shapes).toContain(Object.keys(frame).sort().join());
});

// Live, Topic and Presence as user interfaces use them: stable state, one `subscribe`, no `this`.

/* eslint-disable @typescript-eslint/unbound-method -- unbound is what is tried here */

import { expect, test } from "vitest";

import type { Store } from "../src/index.js";
import { settle } from "./clock.js";
import { answerJoin, inRoom, posted, world } from "./world.js";

/** As React's useSyncExternalStore: unbound, and it must settle. */
function watch<State>({ subscribe, ...store }: Store<State>, read: () => State): State[] {
  expect(store).toBeDefined();
  const states = [read()];
  subscribe(() => {
    expect(read()).toBe(read());
    states.push(read());
  });
  return states;
}

test("the state of the client changes with its status, and is the same until then", async () => {
  const { live, server } = world();
  const states = watch(live, () => live.state);
  live.topic("rooms/lobby");
  await server.accept();
  await server.socket.drop();
  expect(states).toMatchObject([
    { status: "idle" },
    { status: "connecting" },
    { status: "online", user: "7" },
    { status: "waiting", user: "7", retryIn: 500, error: { code: "connection_lost" } },
  ]);
  expect(Object.isFrozen(live.state)).toBe(true);
});

test("each change of a topic's status is told, and what joined brought can be read at any time", async () => {
  const { live, server, clock } = world();
  const room = live.topic("rooms/lobby");
  const states = watch(room, () => room.state);
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 1, snapshot: "state" });
  await server.socket.say(posted(2));
  await server.socket.drop();
  await clock.advance(500);
  room.leave();
  expect(states.map(({ status }) => status)).toEqual(["joining", "joined", "joining", "left"]);
  expect(room.state.joined).toMatchObject({ snapshot: "state", position: { offset: 1 } });
});

test("presence is the same list until a member joins or leaves", async () => {
  const { room, socket } = await inRoom({}, { members: [{ id: "1", since: 1 }] });
  const states = watch(room.presence, () => room.presence.state);
  const { members } = room.presence;
  expect(room.presence.members).toBe(members);
  const say = (payload: object) => socket.say({ type: "presence", topic: "rooms/lobby", payload } as never);
  await say({ joined: [{ id: "1", since: 1 }] });
  expect(room.presence.members).toBe(members);
  await say({ joined: [{ id: "2", since: 2 }] });
  await say({ count: 900 });
  room.leave();
  expect(states.map(({ members: { length }, count, listed }) => [length, count, listed])).toEqual([
    [1, 1, true],
    [2, 2, true],
    [0, 900, false],
    [0, undefined, false],
  ]);
});

test("asking for a topic notifies no listener before the caller is done", async () => {
  const { live, statuses } = world();
  live.topic("rooms/lobby");
  live.lease("rooms/lobby");
  expect(statuses).toEqual([]);
  await settle();
  expect(statuses).toEqual(["connecting"]);
});

test("everything works unbound and behind a Proxy", async () => {
  const { live: raw, server } = world();
  const behind = <T extends object>(target: T): T => new Proxy(target, {});
  const live = behind(raw);
  const { topic, on } = live;
  on("status", () => undefined);
  const room = behind(topic("rooms/lobby"));
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 1, members: [] });
  const seen: unknown[] = [];
  const { on: onEvent, call, subscribe, leave } = room;
  onEvent("message.posted", (payload) => seen.push(payload));
  subscribe(() => undefined);
  void call("post").catch(() => undefined);
  await server.socket.say(posted(2));
  expect([live.status, room.status, room.position?.offset, behind(room.presence).count]).toEqual(["online", "joined", 2, 0]);
  expect(seen).toEqual([2]);
  leave();
  expect(room.status).toBe("left");
  expect([raw, room].every((each) => Object.isFrozen(each))).toBe(true);
});

import { expect, test } from "vitest";

import type { Topic } from "../src/index.js";
import { answerJoin, inRoom, nextAttempt, refuse, world } from "./world.js";

const ada = { id: "1", since: 100, meta: { name: "Ada" } };
const grace = { id: "2", since: 200, meta: { name: "Grace" } };
const guest = { id: "~3f", since: 300 };

const news = (payload: object, topic = "rooms/lobby") => ({ type: "presence", topic, payload });
const ids = (room: Topic) => room.presence.members.map(({ id }) => id).join(" ");

/** Write down what presence says. */
function heard(room: Topic): string[] {
  const story: string[] = [];
  room.presence.on("joined", ({ id }) => story.push(`+${id}`));
  room.presence.on("left", ({ id }) => story.push(`-${id}`));
  room.presence.on("change", (members) => story.push(`[${members.map(({ id }) => id).join(" ")}] ${room.presence.count}`));
  return story;
}

test("who is here comes with the join, and is told as one change", async () => {
  const { live, server } = world();
  const room = live.topic("rooms/lobby");
  const story = heard(room);
  const socket = await server.accept();
  expect([room.presence.members, room.presence.count, room.presence.listed]).toEqual([[], undefined, false]);
  await answerJoin(socket, { members: [ada, grace] });
  expect(story).toEqual(["[1 2] 2"]);
  expect(room.presence.members).toEqual([ada, grace]);
  expect(room.presence.listed).toBe(true);
});

test("who comes and who leaves is told, and then the list as it is", async () => {
  const { room, socket } = await inRoom({}, { members: [ada] });
  const story = heard(room);
  await socket.say(news({ joined: [grace, guest], left: ["1"] }));
  expect(story).toEqual(["-1", "+2", "+~3f", "[2 ~3f] 2"]);
});

test("handlers see the list as it is after the change", async () => {
  const { room, socket } = await inRoom({}, { members: [ada] });
  const seen: string[] = [];
  room.presence.on("joined", () => seen.push(ids(room)));
  await socket.say(news({ joined: [grace] }));
  expect(seen).toEqual(["1 2"]);
});

test("a member that is announced again is a change, and has not joined", async () => {
  const { room, socket } = await inRoom({}, { members: [ada] });
  const story = heard(room);
  await socket.say(news({ joined: [{ ...ada, meta: { name: "Countess" } }] }));
  expect(story).toEqual(["[1] 1"]);
  expect(room.presence.members[0]?.meta).toEqual({ name: "Countess" });
});

test("a list in place of the one that was known is told as the difference", async () => {
  const { room, socket } = await inRoom({}, { members: [ada, grace] });
  const story = heard(room);
  await socket.say(news({ members: [grace, guest] }), news({ members: [grace, guest] }));
  expect(story).toEqual(["-1", "+~3f", "[2 ~3f] 2"]);
});

test("too many to be listed are counted, and listed again when they are fewer", async () => {
  const { room, socket } = await inRoom({}, { members: [ada] });
  const story = heard(room);
  await socket.say(news({ count: 12_000 }), news({ count: 12_001 }), news({ joined: [grace] }));
  expect([room.presence.members, room.presence.listed]).toEqual([[], false]);
  await socket.say(news({ members: [ada, grace] }));
  expect(story).toEqual(["[] 12000", "[] 12001", "[1 2] 2"]);
});

test("a count may come with the join", async () => {
  const { room } = await inRoom({}, { count: 5 });
  expect([room.presence.count, room.presence.listed]).toEqual([5, false]);
});

test("the list stays while the connection is away, and what is different then is told", async () => {
  const around = await inRoom({}, { members: [ada, grace] });
  const { room, socket, server } = around;
  const story = heard(room);
  await socket.drop();
  expect(ids(room)).toBe("1 2");
  await nextAttempt(around);
  const again = await server.accept();
  await answerJoin(again, { members: [grace, guest] });
  expect(story).toEqual(["-1", "+~3f", "[2 ~3f] 2"]);
});

test("after a reconnection to a server that does not know yet, the list stays until it does", async () => {
  const around = await inRoom({}, { members: [ada] });
  await around.socket.drop();
  await nextAttempt(around);
  const socket = await around.server.accept();
  await answerJoin(socket, {});
  expect(ids(around.room)).toBe("1");
  await socket.say(news({ members: [ada, guest] }));
  expect(ids(around.room)).toBe("1 ~3f");
});

test("the list of members is empty when the topic is left or refused", async () => {
  const { live, room, socket } = await inRoom({}, { members: [ada] });
  const story = heard(room);
  room.leave();
  await socket.say(news({ joined: [grace] }));
  expect(story).toEqual(["[] undefined"]);
  const other = live.topic("rooms/captains");
  const changes = heard(other);
  await refuse(socket, "join", "forbidden");
  expect(changes).toEqual([]);
});

test("two objects that stand for one topic know the same", async () => {
  const { live, server } = world();
  const mine = live.topic("inbox/me");
  const seventh = live.topic("inbox/7");
  const socket = await server.accept();
  const [first] = socket.of("join");
  await socket.say({ type: "joined", ref: first?.ref, topic: "inbox/7", payload: { members: [ada] } } as never);
  await refuse(socket, "join", "already_joined", { topic: "inbox/7" });
  await socket.say(news({ joined: [guest] }, "inbox/7"));
  expect([ids(mine), ids(seventh)]).toEqual(["1 ~3f", "1 ~3f"]);
});

test("a topic without presence has no members", async () => {
  const { room } = await inRoom();
  expect([room.presence.members, room.presence.count]).toEqual([[], undefined]);
});

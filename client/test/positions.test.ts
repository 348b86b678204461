// A position belongs to the topic's name for as long as the page lives.

import { expect, test, vi } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, inRoom, posted, watch, world, type World } from "./world.js";

const CURSOR = 'script[data-holdfast-cursor="rooms/lobby"]';
const AT_41 = { epoch: "k3", offset: 41 };

/** A page whose cursor can be replaced. */
function page(cursor: string): { textContent: string | null } & { element: { textContent: string } } {
  const here = { element: { textContent: cursor }, textContent: null };
  const querySelector = (selector: string) => (selector === CURSOR ? here.element : null);
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible", querySelector }));
  return here;
}

/** Leave for good: the server has confirmed it. */
async function gone({ server }: World, room: { readonly leave: () => void }): Promise<void> {
  room.leave();
  await settle();
  const ref = server.socket.of("leave").at(-1)?.ref;
  if (ref !== undefined) await server.socket.say({ type: "left", ref, topic: "rooms/lobby" });
}

const joins = ({ server }: World) => server.socket.of("join").map(({ payload }) => payload?.["since"]);

test("a page's cursor is not spent by a topic that is left at once", async () => {
  page('{"epoch":"k3","offset":41}');
  const around = world();
  around.live.topic("rooms/lobby").leave();
  const room = around.live.topic("rooms/lobby");
  expect(room.position).toEqual(AT_41);
  await around.server.accept();
  expect(joins(around)).toEqual([AT_41]);
});

test("nor by one that is left before the server answers", async () => {
  page('{"epoch":"k3","offset":41}');
  const around = world();
  const first = around.live.topic("rooms/lobby");
  await around.server.accept();
  first.leave();
  await settle();
  await answerJoin(around.server.socket, { epoch: "k3", offset: 45, recovered: true });
  await around.server.socket.say(posted(42));
  await gone(around, first);
  const { seen } = watch(around.live.topic("rooms/lobby"));
  await settle();
  expect(joins(around)).toEqual([AT_41, AT_41]);
  await answerJoin(around.server.socket, { epoch: "k3", offset: 45, recovered: true });
  await around.server.socket.say(posted(42));
  expect(seen).toEqual([42]);
});

test("a topic that is joined again goes on where it was left, and gets what came between", async () => {
  const around = await inRoom();
  const { live, room, socket } = around;
  await socket.say(posted(42));
  await gone(around, room);
  const again = live.topic("rooms/lobby");
  await settle();
  expect(joins(around).at(-1)).toEqual({ epoch: "k3", offset: 42 });
  await answerJoin(socket, { epoch: "k3", offset: 44, recovered: true });
  expect((await again.ready).recovered).toBe(true);
});

test("a topic left while offline goes on from its position too", async () => {
  const around = await inRoom();
  await around.socket.drop();
  around.room.leave();
  await settle();
  around.live.topic("rooms/lobby");
  await around.clock.advance(500);
  await around.server.accept();
  expect(joins(around)).toEqual([AT_41]);
});

test("an ephemeral topic that is joined again does not claim to be recovered", async () => {
  const around = await inRoom({}, {});
  await gone(around, around.room);
  const again = around.live.topic("rooms/lobby");
  await settle();
  await answerJoin(around.socket, {});
  expect(await again.ready).toMatchObject({ recovered: false, again: false });
});

test("a topic with snapshots is joined again without a position: it needs its state", async () => {
  const around = await inRoom({}, { ...AT_41, snapshot: "old" });
  await gone(around, around.room);
  const again = around.live.topic("rooms/lobby");
  await settle();
  expect(joins(around).at(-1)).toBeUndefined();
  await answerJoin(around.socket, { epoch: "k3", offset: 50, snapshot: "new" });
  expect(await again.ready).toMatchObject({ snapshot: "new", recovered: false });
});

test("and so it is when it was left while offline", async () => {
  const around = await inRoom({}, { ...AT_41, snapshot: "old" });
  await around.socket.drop();
  around.room.leave();
  await settle();
  around.live.topic("rooms/lobby");
  await around.clock.advance(500);
  await around.server.accept();
  expect(joins(around)).toEqual([undefined]);
});

test("null starts from now, whatever was seen before", async () => {
  const around = await inRoom();
  await gone(around, around.room);
  const again = around.live.topic("rooms/lobby", { since: null });
  await settle();
  expect(joins(around).at(-1)).toBeUndefined();
  await answerJoin(around.socket, { epoch: "k3", offset: 50 });
  expect((await again.ready).recovered).toBe(true);
});

test("a position that is given counts also for a topic that is just being left", async () => {
  const around = await inRoom();
  const since = { epoch: "k3", offset: 7 };
  around.room.leave();
  around.live.topic("rooms/lobby", { since });
  await settle();
  await around.socket.say({ type: "left", ref: 2, topic: "rooms/lobby" });
  expect(joins(around).at(-1)).toEqual(since);
});

test("the cursor of a new page outranks what the page before has seen", async () => {
  const here = page('{"epoch":"k3","offset":41}');
  const around = world();
  const room = around.live.topic("rooms/lobby");
  await around.server.accept();
  await answerJoin(around.server.socket, { ...AT_41, recovered: true });
  await around.server.socket.say(posted(42), posted(43));
  await gone(around, room);
  here.element = { textContent: '{"epoch":"k3","offset":41}' }; // rendered before, shown now: 42 and 43 are not in it
  const again = around.live.topic("rooms/lobby");
  expect(again.position).toEqual(AT_41);
  await settle();
  await gone(around, again);
  here.element.textContent = '{"epoch":"k3","offset":60}'; // morphed
  expect(around.live.topic("rooms/lobby").position?.offset).toBe(60);
});

test("a lease whose page stands elsewhere than the stream does not claim to be recovered", async () => {
  const here = page('{"epoch":"k3","offset":41}');
  const around = world();
  const first = around.live.lease("rooms/lobby");
  await around.server.accept();
  await answerJoin(around.server.socket, { ...AT_41, recovered: true });
  await around.server.socket.say(posted(42));
  here.element = { textContent: '{"epoch":"k3","offset":41}' };
  expect((await around.live.lease("rooms/lobby").ready).recovered).toBe(false);
  expect((await first.ready).recovered).toBe(true);
  expect((await around.live.lease("rooms/lobby").ready).recovered).toBe(true);
});

test("another position for a topic in use is ignored with a warning, the same one is not", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const since = { epoch: "k3", offset: 40 };
  const { live, server } = world();
  live.topic("rooms/lobby", { since });
  await server.accept();
  await answerJoin(server.socket, { epoch: "k3", offset: 41, recovered: true });
  await server.socket.say(posted(41));
  live.topic("rooms/lobby", { since });
  live.topic("rooms/lobby", { since: AT_41 });
  live.topic("rooms/lobby", { since: null });
  expect(warn).not.toHaveBeenCalled();
  const late = live.lease("rooms/lobby", { since: { epoch: "k3", offset: 5 } });
  expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('"rooms/lobby" is in use and stays at'), { epoch: "k3", offset: 41 });
  expect((await late.ready).recovered).toBe(false);
});

test("another user's topic of the same name begins from the start", async () => {
  const { live, server, clock } = world();
  const inbox = live.topic("inbox/me");
  await server.accept();
  await answerJoin(server.socket, { epoch: "k9", offset: 3 }, "inbox/7");
  inbox.leave();
  await settle();
  await server.socket.say({ type: "left", ref: 2, topic: "inbox/7" });
  await server.socket.drop();
  await clock.advance(1_000);
  await server.accept({ user: "8" });
  expect(live.topic("inbox/me").position).toBeUndefined();
});

test("so many topics are remembered and no more, and what was forgotten does not claim to be the first join", async () => {
  const around = world();
  const { live, server } = around;
  for (let number = 0; number <= 500; number++) live.lease(`rooms/${number}`, { since: AT_41 }).leave();
  expect(live.lease("rooms/1").position).toEqual(AT_41);
  const forgotten = live.lease("rooms/0");
  expect(forgotten.position).toBeUndefined();
  await server.accept();
  await answerJoin(server.socket, {}, "rooms/0");
  expect(await forgotten.ready).toMatchObject({ recovered: false });
});

test("the topic that all share claims no recovery from the page's cursor when a lease has it elsewhere", async () => {
  const around = world();
  around.live.lease("rooms/lobby");
  await around.server.accept();
  await answerJoin(around.server.socket, { epoch: "k3", offset: 45 });
  page('{"epoch":"k3","offset":41}');
  const room = around.live.topic("rooms/lobby");
  expect(await room.ready).toMatchObject({ position: { epoch: "k3", offset: 45 }, recovered: false });
});

test("nor from a position given, when a lease has it elsewhere", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const around = world();
  around.live.lease("rooms/lobby");
  await around.server.accept();
  await answerJoin(around.server.socket, { epoch: "k3", offset: 45 });
  const room = around.live.topic("rooms/lobby", { since: AT_41 });
  expect(await room.ready).toMatchObject({ recovered: false });
  expect(warn).toHaveBeenCalledOnce();
});

test("a cursor at the place where the lease is claims recovery", async () => {
  const around = world();
  around.live.lease("rooms/lobby");
  await around.server.accept();
  await answerJoin(around.server.socket, AT_41);
  page('{"epoch":"k3","offset":41}');
  expect(await around.live.topic("rooms/lobby").ready).toMatchObject({ position: AT_41, recovered: true });
});

import { beforeEach, expect, test, vi, type MockInstance } from "vitest";

import { settle } from "./clock.js";
import { answerJoin, inRoom, failure, nextAttempt, refuse, world, type World } from "./world.js";

let warn: MockInstance<typeof console.warn>;

beforeEach(() => {
  warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
});

async function refused(listen: (around: World) => void = () => undefined): Promise<void> {
  const around = world();
  around.live.topic("rooms/loby");
  listen(around);
  const socket = await around.server.accept();
  await refuse(socket, "join", "forbidden");
}

test("a refusal that nothing on the page listens to is on the console, with its error and the way to listen", async () => {
  await refused();
  expect(warn).toHaveBeenCalledExactlyOnceWith(
    'Holdfast: "rooms/loby" was refused; see lifecycle.on("refused")',
    expect.objectContaining({ code: "forbidden" }),
  );
});

test.each<[string, (around: World) => unknown]>([
  ["a handler", ({ live }) => live.topic("rooms/loby").lifecycle.on("refused", () => undefined)],
  ["a store", ({ live }) => live.topic("rooms/loby").subscribe(() => undefined)],
  ["`ready`", ({ live }) => failure(live.topic("rooms/loby").ready)],
])("a refusal is not on the console when the page learns of it by %s", async (_, listen) => {
  await refused(listen);
  expect(warn).not.toHaveBeenCalled();
});

test("a client that was never online says so once, however often it fails", async () => {
  const around = world();
  around.live.topic("rooms/lobby");
  await settle();
  for (let attempt = 0; attempt < 6; attempt++) {
    await around.server.socket.drop();
    expect(warn).toHaveBeenCalledTimes(attempt < 2 ? 0 : 1);
    await nextAttempt(around);
  }
  expect(warn).toHaveBeenCalledWith(expect.stringMatching(/URL.*asgi\.py.*ORIGINS/), expect.anything());
});

test("a server that refuses the page's origin for good is on the console at once", async () => {
  const { live, server } = world();
  live.topic("rooms/lobby");
  await settle();
  await server.socket.drop(4406);
  expect(warn).toHaveBeenCalledExactlyOnceWith(expect.anything(), expect.objectContaining({ code: "origin_refused" }));
});

test("a handler of an event that the topic does not declare is on the console once, with the names that it does", async () => {
  const around = world();
  const room = around.live.topic("rooms/lobby");
  for (const name of ["mesage.posted", "*", "typing"]) room.on(name, () => undefined);
  for (let again = 0; again < 2; again++) {
    const socket = await around.server.accept();
    await answerJoin(socket, { events: ["message.posted", "typing"] });
    await socket.drop();
    await nextAttempt(around);
  }
  expect(warn).toHaveBeenCalledExactlyOnceWith('Holdfast: "rooms/lobby" has no event "mesage.posted", only', [
    "message.posted",
    "typing",
  ]);
});

test("a handler that comes after the join is looked at too", async () => {
  const { room } = await inRoom({}, { events: ["message.posted"] });
  room.on("message.posted", () => undefined);
  room.on("mesage.posted", () => undefined);
  expect(warn).toHaveBeenCalledOnce();
});

test("without the names, as in production, no handler is on the console", async () => {
  const { room } = await inRoom();
  room.on("mesage.posted", () => undefined);
  expect(warn).not.toHaveBeenCalled();
});

test("an outage after the client was online is not on the console", async () => {
  const around = world();
  around.live.topic("rooms/lobby");
  const socket = await around.server.accept();
  await answerJoin(socket, { epoch: "k3", offset: 41 });
  for (let attempt = 0; attempt < 4; attempt++) {
    await around.server.socket.drop();
    await nextAttempt(around);
  }
  expect(warn).not.toHaveBeenCalled();
});

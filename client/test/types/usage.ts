// What a user writes, against the built types: it only has to compile.

import { connect, LiveError, type JoinedInfo, type Live, type Position, type Topic } from "holdfast";

interface RoomEvents {
  "message.posted": { id: number; author: string; body: string };
  typing: { author: string };
}

const live: Live = connect({
  url: async () => Promise.resolve("/live/ws"),
  token: () => "t",
  WebSocket,
  page: { window, document },
});
const user: string | null | undefined = live.user;
live.on("status", (status, { retryIn }) => {
  if (status === "waiting") retryIn?.toFixed();
  // @ts-expect-error: there is no such status
  if (status === "sleeping") live.reconnect();
});

const room: Topic<RoomEvents> = live.topic<RoomEvents>("rooms/lobby");
const off: () => void = room.on("message.posted", ({ body }, { offset }) => {
  body.trim();
  offset?.toFixed();
});
room.on("*", (payload, { name }) => {
  name.trim();
  payload.author.trim();
});
// @ts-expect-error: the topic has no such event
room.on("message.deleted", () => undefined);

const untyped: Topic = live.topic("rooms/other", { since: null });
untyped.on("anything", (payload: unknown) => payload);

room.lifecycle.on("joined", ({ snapshot, recovered, position }: JoinedInfo) => [snapshot, recovered, position]);
room.lifecycle.on("refused", ({ error }) => error.code === "forbidden");
// @ts-expect-error: nobody but the client says what happens to a topic
room.lifecycle.emit("left", { error: undefined });

const id: number = await room.call<number>("post", { body: "hi" }, { timeout: 5_000, signal: AbortSignal.timeout(1) });
const position: Position | undefined = room.position;
try {
  await room.ready;
} catch (error) {
  if (error instanceof LiveError && error.code === "rate_limited") error.retryAfter?.toFixed();
}
room.send("typing");

const crew: Topic<RoomEvents, { name: string }> = live.topic<RoomEvents, { name: string }>("rooms/crew");
crew.presence.on("change", (members) => members.map(({ id, meta }) => meta?.name ?? id));
crew.presence.on("joined", ({ since }) => new Date(since * 1_000));
const count: number | undefined = crew.presence.count;
// @ts-expect-error: the metadata have no such field
crew.presence.members.map(({ meta }) => meta?.age);

export { count, id, off, position, user };

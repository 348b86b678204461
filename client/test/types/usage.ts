// What a user writes, against the built types: it only has to compile.

import {
  connect,
  LiveError,
  type JoinedInfo,
  type Live,
  type LiveState,
  type Position,
  type Store,
  type Topic,
} from "holdfast";
import { CallQueue } from "holdfast/queue";
import { bindTextarea } from "holdfast/textarea";
import { YjsProvider } from "holdfast/yjs";
import { Doc } from "yjs";

interface Room {
  events: {
    "message.posted": { id: number; author: string; body: string };
    typing: { author: string };
  };
  actions: {
    post(payload: { body: string }): number;
    search(payload?: { text?: string }): Promise<string[]>;
    typing(): void;
  };
  meta: { name: string };
  snapshot: { title: string };
}

const live: Live = connect({
  url: async () => Promise.resolve("/live/ws"),
  token: () => "t",
  WebSocket,
  page: { window, document },
  connectTimeout: undefined,
});
const user: string | null | undefined = live.user;
live.on("status", (status, { retryIn }) => {
  if (status === "waiting") retryIn?.toFixed();
  // @ts-expect-error: there is no such status
  if (status === "sleeping") live.reconnect();
});
live.on("error", ({ code }) => code === "rate_limited", { signal: undefined });

// ── events ─────────────────────────────────────────────────────────────────────────────────────────

const room: Topic<Room> = live.topic<Room>("rooms/lobby");
const off: () => void = room.on("message.posted", ({ body }, { offset, name }) => {
  body.trim();
  offset?.toFixed();
  name satisfies "message.posted";
});
room.on("*", (payload, event) => {
  payload.author.trim();
  // @ts-expect-error: a typing has no body
  event.payload.body;
  if (event.name === "message.posted") event.payload.body.trim();
  else event.name satisfies "typing";
});
// @ts-expect-error: the topic has no such event
room.on("message.deleted", () => undefined);

const untyped: Topic = live.topic("rooms/other", { since: null });
untyped.on("anything", (payload: unknown) => payload);
untyped.on("*", (_: unknown, { name }) => name.trim());
// @ts-expect-error: what is not declared is unknown
untyped.on("anything", (payload: string) => payload);

// A typed topic is a topic.
const any: Topic = room;
const readStatus = (topic: Topic): string => topic.status;
readStatus(room);
// @ts-expect-error: and not one of other types
const other: Topic<{ events: { left: string } }> = room;

room.lifecycle.on("joined", ({ snapshot, recovered, position }) => [snapshot?.title.trim(), recovered, position]);
// @ts-expect-error: the snapshot has no such field
room.lifecycle.on("joined", ({ snapshot }) => snapshot?.titel);
room.lifecycle.on("refused", ({ error }) => error.code === "forbidden");
// @ts-expect-error: only the client says what happens to a topic
room.lifecycle.emit("left", { error: undefined });
const info: JoinedInfo | undefined = room.state.joined;

// ── calls ──────────────────────────────────────────────────────────────────────────────────────────

const id: number = await room.call("post", { body: "hi" }, { timeout: undefined, signal: AbortSignal.timeout(1) });
const found: string[] = await room.call("search");
await room.call("search", { text: "x" }, { timeout: 5_000 });
await room.call("typing", undefined, { timeout: 5_000, signal: undefined, key: undefined });
room.send("typing");
room.send("typing", {});
// @ts-expect-error: there is no such action
await room.call("psot", { body: "hi" });
// @ts-expect-error: the result is a number
const text: string = await room.call("post", { body: "hi" });
// @ts-expect-error: the payload is missing
await room.call("post");
// @ts-expect-error: the payload has another field
await room.call("post", { text: "hi" });
// @ts-expect-error: the action takes no payload
await room.call("typing", { author: "ada" });
// @ts-expect-error: there is no such action
room.send("type");
const result: unknown = await untyped.call("whatever", { a: 1 }, { timeout: 5_000 });
// @ts-expect-error: a payload is an object
await untyped.call("whatever", "text");
// @ts-expect-error: what is not declared is unknown
const wrong: number = await untyped.call("whatever");

// Only some of the types: the rest is as without any.
const events = live.topic<{ events: Room["events"] }>("rooms/lobby");
const unknownResult: unknown = await events.call("post", { body: "hi" });
const actions = live.topic<{ actions: Room["actions"] }>("rooms/lobby");
actions.on("anything", (payload: unknown) => payload);
// @ts-expect-error: misspelt
live.topic<{ event: Room["events"] }>("rooms/lobby");

const position: Position | undefined = room.position;
try {
  await room.ready;
} catch (error) {
  if (error instanceof LiveError && error.code === "rate_limited") error.retryAfter?.toFixed();
  // @ts-expect-error: there is no such code
  if (error instanceof LiveError && error.code === "rate_limitd") error.retryAfter?.toFixed();
}

// ── the persistent queue ───────────────────────────────────────────────────────────────────────────

const queue = new CallQueue(live, { user: 7, storage: "local", restored: ({ result }) => void result });
const queued: number = await queue.call(room, "post", { body: "hi" }, { signal: AbortSignal.timeout(1) });
await queue.call(room, "typing");
await queue.call(untyped, "whatever", { a: 1 });
// @ts-expect-error: the payload has another field
await queue.call(room, "post", { text: "hi" });
// @ts-expect-error: there is no such action
await queue.call(room, "psot", { body: "hi" });
// @ts-expect-error: without the user calls could be made in the name of another one
new CallQueue(live, { storage: "local" });

// ── shared documents ───────────────────────────────────────────────────────────────────────────────

const provider = new YjsProvider(room, new Doc(), { interval: 100 });
new YjsProvider(untyped, new Doc());
const { undo, cursors } = bindTextarea(provider.doc.getText("text"), document.createElement("textarea"), provider);
undo.stopCapturing();
provider.awareness.on("change", ({ removed }) => removed.map((client) => provider.awareness.getStates().get(client)));
const whereOthersAre: number[] = cursors().map(({ head }) => head);
const refusal: string | undefined = useStore(provider).error?.reason;
await provider.destroy();
// @ts-expect-error: it is the server that knows
provider.state.synced = true;

// ── presence ───────────────────────────────────────────────────────────────────────────────────────

room.presence.on("change", (members) => members.map(({ id, meta }) => meta?.name ?? id));
room.presence.on("joined", ({ since }) => new Date(since * 1_000));
const count: number | undefined = room.presence.count;
// @ts-expect-error: the metadata have no such field
room.presence.members.map(({ meta }) => meta?.age);

// ── leases and stores ──────────────────────────────────────────────────────────────────────────────

{
  using lease = live.lease<Room>("rooms/lobby", { since: undefined, signal: new AbortController().signal });
  lease.on("typing", ({ author }) => author.trim(), { signal: AbortSignal.timeout(1) });
}
function useStore<State>(store: Store<State>): State {
  const { subscribe } = store; // needs no `this`
  subscribe(() => undefined)();
  return store.state;
}
const state: LiveState = useStore(live);
const title: string | undefined = useStore(room).joined?.snapshot?.title;
const names: readonly (string | undefined)[] = useStore(room.presence).members.map(({ meta }) => meta?.name);
// @ts-expect-error: only the client changes it
live.state.status = "online";

export { any, count, refusal, whereOthersAre, found, id, info, names, off, other, position, queued, result, state, text, title, unknownResult, user, wrong };

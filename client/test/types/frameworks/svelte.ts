// What a user of Svelte writes, against the built types: it only has to compile.

import { connect } from "holdfast-client";
import { calls, events, presence, status, topicStore, type TopicStore } from "holdfast-client/svelte";
import { derived, fromStore, get, type Readable, type Writable } from "svelte/store";

import type { Message, Room } from "./room.js";

const room: TopicStore<Room> = topicStore<Room>("rooms/lobby", { live: connect(), since: null });
const readable: Readable<{ status: string }> = room;
get(room).snapshot?.messages.map(({ body }) => body);
const off: () => void = room.on("message.posted", ({ body }) => body.trim());
room.on("*", (_, event) => event.name === "typing" && event.payload.author);
// @ts-expect-error: the topic has no such event
room.on("message.deleted", () => undefined);

const messages: Writable<readonly Message[]> = events<readonly Message[], Room>(
  room,
  (list, event) => (event.name === "message.posted" ? [...list, event.payload] : list),
  { initial: [], snapshot: ({ messages }) => messages },
);
messages.update((list) => list.slice(1));
// @ts-expect-error: the list has messages
messages.set([1]);

const names = derived(presence(room), ({ members }) => members.map(({ meta }) => meta?.name));
const online: boolean = fromStore(status()).current.status === "online";
const post = calls(room, "post");
const result: number | undefined = get(post).result;
void post.call({ body: "hi" });
post.run({ body: "hi" });
// @ts-expect-error: the payload has another field
void post.call({ text: "hi" });
// @ts-expect-error: there is no such action
calls(room, "psot");
void room.call("post", { body: "hi" });
room.send("typing");

export { names, off, online, readable, result };

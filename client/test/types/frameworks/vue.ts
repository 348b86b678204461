// What a user of Vue writes, against the built types: it only has to compile.

import { connect, type LiveError } from "holdfast-client";
import { provideLive, useCall, useEvent, useEvents, useLive, usePresence, useStatus, useTopic, type TopicRefs } from "holdfast-client/vue";
import { createApp, ref, type Ref } from "vue";

import type { Message, Room } from "./room.js";

provideLive(connect(), createApp({}));
useLive().reconnect();
const retryIn: Ref<number | undefined> = useStatus().retryIn;

const id = ref<string | null>("lobby");
const room: TopicRefs<Room> = useTopic<Room>(() => id.value && `rooms/${id.value}`, { since: null });
const status: string = room.status.value;
room.snapshot.value?.messages.map(({ body }) => body);
// @ts-expect-error: only the client changes it
room.status.value = "joined";

useEvent(room, "message.posted", ({ body }) => body.trim());
useEvent(room, "*", (_, event) => event.name === "typing" && event.payload.author);
// @ts-expect-error: the topic has no such event
useEvent(room, "message.deleted", () => undefined);
useEvent(id, "anything", (payload: unknown) => payload);

const messages = useEvents<readonly Message[], Room>(
  room,
  (list, event) => (event.name === "message.posted" ? [...list, event.payload] : list),
  { initial: [], snapshot: ({ messages }) => messages },
);
messages.value = messages.value.slice(1);
// @ts-expect-error: the list has messages
messages.value = [1];

const names: (string | undefined)[] = usePresence(room).members.value.map(({ meta }) => meta?.name);
const post = useCall(room, "post");
const error: LiveError | undefined = post.error.value;
const result: Promise<number> = post.call({ body: "hi" });
// @ts-expect-error: the payload has another field
void post.call({ text: "hi" });
// @ts-expect-error: there is no such action
useCall(room, "psot");
void room.call("post", { body: "hi" });

export { error, names, result, retryIn, status };

// What a user of React writes, against the built types: it only has to compile.

import { connect, type Live, type LiveError, type LiveStatus, type Member } from "holdfast-client";
import {
  LiveProvider,
  useCall,
  useEvent,
  useEvents,
  useLive,
  usePresence,
  useStatus,
  useTopic,
  type LiveTopic,
} from "holdfast-client/react";
import type { ReactElement } from "react";

import type { Message, Room } from "./room.js";

export function App(): ReactElement {
  return <LiveProvider live={connect()}><Chat name="rooms/lobby" /></LiveProvider>;
}

function Chat({ name }: { readonly name: string | undefined }): ReactElement {
  const live: Live = useLive();
  const status: LiveStatus = useStatus().status;
  const room: LiveTopic<Room> = useTopic<Room>(name, { suspense: true, throwOnError: false, since: null });
  const untyped: LiveTopic = room;
  // @ts-expect-error: the topic has no such status
  room.status === "lost";
  room.snapshot?.messages.map(({ body }) => body);

  useEvent(room, "message.posted", ({ body }, { offset, name }) => {
    body.trim();
    offset?.toFixed();
    name satisfies "message.posted";
  });
  useEvent(room, "*", (_, event) => {
    if (event.name === "message.posted") event.payload.body.trim();
    else event.payload.author.trim();
  });
  // @ts-expect-error: the topic has no such event
  useEvent(room, "message.deleted", () => undefined);
  useEvent("rooms/lobby", "anything", (payload: unknown) => payload);
  useEvent(untyped, "anything", (payload: unknown) => payload);

  const [messages, update] = useEvents<readonly Message[], Room>(
    room,
    (list, event) => (event.name === "message.posted" ? [...list, event.payload] : list),
    { initial: [], snapshot: ({ messages }) => messages, missed: () => [] },
  );
  const [count] = useEvents(room, (total, { name }) => total + name.length, { initial: 0 });
  count.toFixed();
  update((list) => list.slice(1));
  // @ts-expect-error: the list has messages
  update(() => [1]);

  const names: (string | undefined)[] = usePresence(room).members.map(({ meta }) => meta?.name);
  const members: readonly Member<Room["meta"]>[] = usePresence<Room>("rooms/lobby").members;
  // @ts-expect-error: the metadata have no such field
  usePresence(room).members.map(({ meta }) => meta?.age);

  const post = useCall(room, "post");
  const id: number | undefined = post.result;
  const error: LiveError | undefined = post.error;
  const promise: Promise<number> = post.call({ body: "hi" }, { timeout: 1_000 });
  void useCall(room, "typing").call();
  // @ts-expect-error: there is no such action
  useCall(room, "psot");
  // @ts-expect-error: the payload has another field
  void post.call({ text: "hi" });
  void room.call("post", { body: "hi" });
  // @ts-expect-error: the payload is missing
  void room.call("post");
  room.send("typing");

  return <p title={error?.code}>{[live.client, status, ...names, members.length, id, String(promise), messages.length]}</p>;
}

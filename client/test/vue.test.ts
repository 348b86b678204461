// @vitest-environment happy-dom
// Composables of `holdfast-client/vue`, with the real Vue, against the simulated server.

import { expect, test, vi } from "vitest";
import { createApp, effectScope, h, nextTick, ref, type Component } from "vue";

import { provideLive, useCall, useEvent, useEvents, usePresence, useStatus, useTopic, type TopicRefs } from "../src/vue.js";
import { settle } from "./clock.js";
import type { FakeSocket } from "./server.js";
import { answerJoin, posted, refuse, world } from "./world.js";

const AT_41 = { epoch: "k3", offset: 41 };

interface Room {
  events: { "message.posted": number };
  actions: { post(payload: { body: string }): number };
  snapshot: number[];
}

function page(setup: () => () => unknown) {
  const around = world();
  const root: Component = { setup: () => { const show = setup(); return () => h("p", String(show())); } };
  const app = createApp(root);
  provideLive(around.live, app);
  const element = document.createElement("main");
  app.mount(element);
  return { ...around, app, text: () => element.textContent };
}

function traffic(socket: FakeSocket): string[] {
  return socket.look().map(({ type, topic }) => `${type} ${topic ?? ""}`);
}

async function tick(): Promise<void> {
  await settle();
  await nextTick();
}

const add = (list: readonly number[], { payload }: { readonly payload: unknown }) => [...list, payload as number];

test("a component shows status, snapshot and events, and leaves when it is unmounted", async () => {
  const { app, server, text } = page(() => {
    const room = useTopic<Room>("rooms/lobby");
    const messages = useEvents(room, add, { initial: [], snapshot: (snapshot: number[]) => snapshot });
    return () => `${room.status.value}: ${messages.value.join(" ")}`;
  });
  expect(text()).toBe("joining: ");
  const socket = await server.accept();
  await answerJoin(socket, { ...AT_41, snapshot: [1] });
  await socket.say(posted(42, 2));
  await tick();
  expect(text()).toBe("joined: 1 2");
  app.unmount();
  await settle();
  expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
});

test("a name that changes leaves the old topic and joins the new one, and only the last of many", async () => {
  const id = ref<number | null>(0);
  const seen: unknown[] = [];
  const { app, server, text } = page(() => {
    const room = useTopic<Room>(() => id.value === null ? null : `rooms/${id.value}`);
    useEvent(room, "message.posted", (payload) => seen.push(payload));
    const messages = useEvents(room, add, { initial: [] });
    return () => `${room.name.value ?? "none"} ${room.status.value} ${messages.value.join()}`;
  });
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  await socket.say(posted(42, 1, "rooms/0"));
  for (let n = 1; n < 20; n++) id.value = n;
  await settle();
  await socket.say({ type: "left", ref: socket.of("leave").at(-1)?.ref, topic: "rooms/0" } as never);
  await answerJoin(socket, AT_41);
  await socket.say(posted(42, 2, "rooms/19"));
  await tick();
  expect(text()).toBe("rooms/19 joined 2");
  expect(seen).toEqual([1, 2]);
  expect(traffic(socket)).toEqual(["join rooms/0", "leave rooms/0", "join rooms/19"]);
  id.value = null;
  await tick();
  expect(text()).toBe("none idle ");
  expect(traffic(socket)).toEqual(["leave rooms/19"]);
  app.unmount();
});

test("a child takes the parent's topic, or names one, and one join serves both", async () => {
  const seen: unknown[] = [];
  const around = world();
  const Child = { props: ["room"], setup: ({ room }: { room: TopicRefs }) => {
    useEvent(room, "*", (payload) => seen.push(["child", payload]));
    return () => h("i");
  } };
  const app = createApp({ setup: () => {
    const room = useTopic("rooms/lobby");
    const { members, count } = usePresence("rooms/lobby");
    return () => h("p", [h(Child, { room }), members.value.map(({ id }) => id).join(), ` of ${count.value ?? "?"}`]);
  } });
  provideLive(around.live, app);
  const element = document.createElement("main");
  app.mount(element);
  const socket = await around.server.accept();
  await answerJoin(socket, { ...AT_41, members: [{ id: "1", since: 1 }] });
  await socket.say(posted(42, 7));
  await tick();
  expect(element.textContent).toBe("1 of 1");
  expect(seen).toEqual([["child", 7]]);
  app.unmount();
  await settle();
  expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
});

test("a call says that it waits, and then its result or its error", async () => {
  let post: ReturnType<typeof useCall<Room, "post">> | undefined;
  const { server, text } = page(() => {
    post = useCall(useTopic<Room>("rooms/lobby"), "post");
    const { pending, result, error } = post;
    return () => `${pending.value ? "pending" : "idle"} ${result.value ?? "-"} ${error.value?.code ?? "-"}`;
  });
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  post?.run({ body: "hi" });
  await tick();
  expect(text()).toBe("pending - -");
  await socket.say({ type: "result", ref: socket.of("call")[0]?.ref, payload: 7 } as never);
  await tick();
  expect(text()).toBe("idle 7 -");
  post?.run({ body: "hi" });
  await tick();
  await refuse(socket, "call", "refused");
  await tick();
  expect(text()).toBe("idle - refused");
});

test("the connection's state is shown, outside of components too, until the scope ends", async () => {
  const { server, live, text } = page(() => {
    const { status, user } = useStatus();
    useTopic("rooms/lobby");
    return () => `${status.value} ${user.value ?? "-"}`;
  });
  await server.accept();
  await tick();
  expect(text()).toBe("online 7");
  const scope = effectScope();
  const app = createApp({});
  provideLive(live, app);
  const room = scope.run(() => app.runWithContext(() => useTopic("rooms/other")));
  await settle();
  await answerJoin(server.socket, AT_41);
  expect(room?.status.value).toBe("joined");
  scope.stop();
  await settle();
  expect(traffic(server.socket)).toEqual(["join rooms/lobby", "join rooms/other", "leave rooms/other"]);
});

test("a refusal is in the status, or on the console if no component looks", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const { server } = page(() => { useEvent("rooms/blind", "x", () => undefined); return () => ""; });
  const socket = await server.accept();
  await refuse(socket, "join", "forbidden");
  expect(warn).toHaveBeenCalledOnce();
});

test("what useEvents returns can be assigned to", async () => {
  let messages: { value: readonly number[] } = { value: [] };
  const { server, text } = page(() => {
    messages = useEvents<readonly number[]>("rooms/lobby", add, { initial: [5] });
    return () => messages.value.join(" ");
  });
  const socket = await server.accept();
  await answerJoin(socket, AT_41);
  messages.value = [4, ...messages.value];
  await socket.say(posted(42, 6));
  await tick();
  expect(text()).toBe("4 5 6");
});

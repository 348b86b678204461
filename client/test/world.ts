import { connect, type ConnectOptions, type JoinedInfo, type Live, type LiveError, type Topic } from "../src/index.js";
import { ManualClock } from "./clock.js";
import { FakeServer, type FakeSocket } from "./server.js";

export interface World {
  readonly live: Live;
  readonly clock: ManualClock;
  readonly server: FakeServer;
  /** Each status with the wait that came with it. */
  readonly statuses: string[];
}

/** A client, a server and a clock, all in the test's hand. */
export function world(options: ConnectOptions = {}): World {
  const clock = new ManualClock();
  const server = new FakeServer();
  const live = connect({
    url: "ws://server/live/ws",
    WebSocket: server.WebSocket,
    clock,
    random: () => 0.5,
    shared: false,
    ...options,
  });
  const statuses: string[] = [];
  live.on("status", (status, { retryIn }) => statuses.push(retryIn === undefined ? status : `${status} ${retryIn}`));
  return { live, clock, server, statuses };
}

/** Let time pass until the client tries again. */
export async function nextAttempt({ clock, server }: World): Promise<void> {
  const before = server.sockets.length;
  for (let step = 0; step < 10_000 && server.sockets.length === before; step++) await clock.advance(10);
}

export interface Room extends World {
  readonly socket: FakeSocket;
  readonly room: Topic;
  /** Payloads of all events, in the order in which they were handled. */
  readonly seen: unknown[];
  /** What the topic's lifecycle said. */
  readonly story: string[];
}

/** A world with one topic joined, at offset 41 of epoch k3 unless `joined` says otherwise. */
export async function inRoom(options: ConnectOptions = {}, joined: object = { epoch: "k3", offset: 41 }): Promise<Room> {
  const around = world(options);
  const room = around.live.topic("rooms/lobby");
  const watched = watch(room);
  const socket = await around.server.accept();
  await answerJoin(socket, joined);
  return { ...around, ...watched, room, socket };
}

/** Write down what happens to a topic. */
export function watch(room: Topic): { seen: unknown[]; story: string[] } {
  const seen: unknown[] = [];
  const story: string[] = [];
  room.on("*", (payload) => seen.push(payload));
  room.lifecycle.on("joined", ({ recovered, again }: JoinedInfo) => {
    story.push(`joined${again ? " again" : ""}${recovered ? "" : ", not recovered"}`);
  });
  room.lifecycle.on("reset", ({ reason }) => story.push(`reset ${reason}`));
  room.lifecycle.on("refused", ({ error }) => story.push(`refused ${error.code}`));
  room.lifecycle.on("left", ({ error }) => story.push(`left${error ? ` ${error.code}` : ""}`));
  return { seen, story };
}

/** Answer the newest join. */
export async function answerJoin(socket: FakeSocket, payload: object, topic?: string): Promise<void> {
  const join = socket.of("join").at(-1);
  if (join?.ref === undefined || join.topic === undefined) throw new Error("no join was sent");
  await socket.say({ type: "joined", ref: join.ref, topic: topic ?? join.topic, payload });
}

/** Answer a request of one type with an error; the newest unless `index` says otherwise. */
export async function refuse(socket: FakeSocket, type: string, code: string, extra: object = {}, index = -1): Promise<void> {
  const ref = socket.of(type).at(index)?.ref;
  if (ref === undefined) throw new Error(`no ${type} was sent`);
  await socket.say({ type: "error", ref, payload: { code, message: code, ...extra } });
}

/** A durable event of the room. */
export function posted(offset: number, payload: unknown = offset, topic = "rooms/lobby") {
  return { type: "event", topic, name: "message.posted", offset, payload } as const;
}

/** What a promise was rejected with. */
export async function failure(promise: Promise<unknown>): Promise<LiveError> {
  try {
    await promise;
  } catch (error) {
    return error as LiveError;
  }
  throw new Error("expected a rejection");
}

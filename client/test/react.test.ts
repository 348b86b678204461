// @vitest-environment happy-dom
// Hooks of `holdfast-client/react`, with the real React 18 and 19 (vitest.config.ts), against the simulated server.

import { act, Component, createElement as h, StrictMode, Suspense, useState, version, type ReactNode } from "react";
import { version as domVersion } from "react-dom";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import * as hooks from "../src/react.js";
import { settle } from "./clock.js";
import type { FakeSocket } from "./server.js";
import { answerJoin, posted, refuse, world, type World } from "./world.js";

const AT_41 = { epoch: "k3", offset: 41 };
const roots = new Set<Root>();

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(async () => {
  for (const root of roots) await act(async () => { root.unmount(); await settle(); });
  roots.clear();
  expect(vi.getTimerCount()).toBe(0); // no timer survives the components, whatever the test did
  vi.useRealTimers();
});

interface Page extends World {
  readonly element: HTMLElement;
  render(node: ReactNode): Promise<void>;
  /** Let the server do something, and React what follows. */
  during(step: () => unknown): Promise<void>;
  unmount(): Promise<void>;
  text(): string;
}

/** A page with a React root, and its own client. */
function page({ strict = false } = {}): Page {
  const around = world();
  const element = document.createElement("main");
  const root = createRoot(element);
  roots.add(root);
  const during = (step: () => unknown): Promise<void> =>
    act(async () => {
      await step();
      await settle();
    });
  return {
    ...around,
    element,
    during,
    render: (node) =>
      during(() => {
        const provided = h(hooks.LiveProvider, { live: around.live }, node);
        root.render(strict ? h(StrictMode, null, provided) : provided);
      }),
    unmount: () => during(() => { root.unmount(); }),
    text: () => element.textContent,
  };
}

/** What went over the wire about topics since the last look. */
function traffic(socket: FakeSocket): string[] {
  return socket.look().map(({ type, topic }) => `${type} ${topic ?? ""}`);
}

interface Room {
  events: { "message.posted": number; typing: { author: string } };
  actions: { post(payload: { body: string }): number };
  snapshot: number[];
}

function Status({ name = "rooms/lobby" }: { readonly name?: hooks.TopicName }) {
  return hooks.useTopic(name).status;
}

function Messages({ name = "rooms/lobby" }: { readonly name?: string }) {
  const room = hooks.useTopic<Room>(name);
  const [messages] = hooks.useEvents(room, (list: readonly number[], event) => (event.name === "message.posted" ? [...list, event.payload] : list), {
    initial: [],
    snapshot: (snapshot) => snapshot,
    missed: (list) => [...list, -1],
  });
  return `${room.status}: ${messages.join(" ")}`;
}

/** Counts what the page has of a topic: after the last component there must be nothing. */
async function expectNothingLeft(around: Page): Promise<void> {
  await settle();
  const { sent } = around.server.socket;
  const count = (type: string) => sent.filter((frame) => frame.type === type).length;
  expect(count("leave")).toBe(count("join"));
}

test("React is the one that the project names", () => {
  const major = process.env["REACT"] ?? "19";
  expect([version, domVersion].map((each) => each.split(".")[0])).toEqual([major, major]);
});

describe("useTopic", () => {
  test("joins when it is mounted, shows the status, and leaves when it is unmounted", async () => {
    const around = page();
    await around.render(h(Status));
    expect(around.text()).toBe("joining");
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    expect(around.text()).toBe("joined");
    await around.unmount();
    expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
  });

  test("components that use the same topic share one join, and the last one leaves", async () => {
    const around = page();
    await around.render([h(Status, { key: 1 }), h(Status, { key: 2 })]);
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.render([h(Status, { key: 1 }), h(Status, { key: 3 })]);
    await around.render([h(Status, { key: 3 })]);
    expect(around.text()).toBe("joined");
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
    await around.render(null);
    expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
  });

  test("StrictMode's second mount neither joins nor leaves", async () => {
    const around = page({ strict: true });
    await around.render(h(Messages));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1] }));
    await around.during(() => socket.say(posted(42, 2)));
    expect(around.text()).toBe("joined: 1 2"); // each event once
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
    await around.unmount();
    expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
  });

  test("a mount into a page that is connected joins once in StrictMode too", async () => {
    const around = page({ strict: true });
    await around.render(h(Status, { name: "rooms/first" }));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, {}));
    await around.render([h(Status, { key: "second", name: "rooms/second" })]);
    expect(traffic(socket).sort()).toEqual(["join rooms/first", "join rooms/second", "leave rooms/first"]);
  });

  test("a name that changes leaves the old topic and joins the new one", async () => {
    const around = page();
    await around.render(h(Messages, { name: "rooms/a" }));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1] }));
    await around.render(h(Messages, { name: "rooms/b" }));
    expect(around.text()).toBe("joining: ");
    expect(traffic(socket)).toEqual(["join rooms/a", "leave rooms/a", "join rooms/b"]);
  });

  test("of names that change fast only the last one is joined", async () => {
    const around = page();
    await around.render(h(Status, { name: "rooms/0" }));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    let set: (name: string) => void = () => undefined;
    const Switch = () => {
      const [name, setName] = useState("rooms/0");
      set = setName;
      return h(Status, { name });
    };
    await around.render(h(Switch));
    for (let n = 1; n < 20; n++) act(() => { set(`rooms/${n}`); }); // twenty commits in one turn
    await around.during(() => undefined);
    expect(traffic(socket)).toEqual(["join rooms/0", "leave rooms/0", "join rooms/19"]);
    await around.during(() => answerJoin(socket, AT_41));
    await around.unmount();
    await expectNothingLeft(around);
  });

  test("without a name nothing is joined", async () => {
    const around = page();
    await around.render(h(Status, { name: null }));
    expect(around.text()).toBe("idle");
    expect(around.server.sockets).toEqual([]);
  });

  test("a lost connection shows as joining, and the topic goes on", async () => {
    const around = page();
    await around.render(h(Messages));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => socket.say(posted(42, 1)));
    await around.during(() => socket.drop());
    expect(around.text()).toBe("joining: 1");
    await around.during(() => around.clock.advance(500));
    const next = await around.server.accept();
    await around.during(() => answerJoin(next, { epoch: "k3", offset: 42, recovered: true }));
    await around.during(() => next.say(posted(43, 2)));
    expect(around.text()).toBe("joined: 1 2");
  });

  test("a client that was closed shows as an error and breaks no component", async () => {
    const around = page();
    around.live.close();
    const Code = () => {
      const { status, error } = hooks.useTopic("rooms/lobby");
      return `${status} ${error?.code ?? ""}`;
    };
    await around.render(h(Code));
    expect(around.text()).toBe("left closed");
  });
});

describe("useEvent", () => {
  test("calls the newest handler, and adding one costs no subscription", async () => {
    const around = page();
    const seen: string[] = [];
    const Listener = ({ label }: { readonly label: string }) => {
      const room = hooks.useTopic<Room>("rooms/lobby");
      hooks.useEvent(room, "message.posted", (payload) => seen.push(`${label} ${payload}`));
      return null;
    };
    await around.render(h(Listener, { label: "a" }));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => socket.say(posted(42)));
    await around.render(h(Listener, { label: "b" }));
    await around.during(() => socket.say(posted(43)));
    await around.unmount();
    await socket.say(posted(44));
    expect(seen).toEqual(["a 42", "b 43"]);
    expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
  });

  test("takes the name of a topic, and a child's handler sees the first event", async () => {
    const around = page();
    const seen: unknown[] = [];
    const Child = ({ room }: { readonly room: hooks.LiveTopic<Room> }) => {
      hooks.useEvent(room, "*", (payload, { name }) => seen.push([name, payload]));
      return null;
    };
    const Parent = () => {
      hooks.useEvent("rooms/lobby", "message.posted", (payload) => seen.push(payload));
      return h(Child, { room: hooks.useTopic<Room>("rooms/lobby") });
    };
    await around.render(h(Parent));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => socket.say(posted(42)));
    expect(seen).toEqual(expect.arrayContaining([42, ["message.posted", 42]]));
    expect(seen).toHaveLength(2);
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
  });
});

describe("useEvents", () => {
  test("folds snapshot and events, and a reset brings a fresh snapshot", async () => {
    const around = page();
    await around.render(h(Messages));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1, 2] }));
    await around.during(() => socket.say(posted(42, 3)));
    expect(around.text()).toBe("joined: 1 2 3");
    await around.during(() => socket.say({ type: "reset", topic: "rooms/lobby", payload: { reason: "slow", epoch: "k3", offset: 50 } } as never));
    const leave = socket.of("leave").at(-1);
    await around.during(() => socket.say({ type: "left", ref: leave?.ref, topic: "rooms/lobby" } as never));
    await around.during(() => answerJoin(socket, { epoch: "k3", offset: 50, snapshot: [8, 9] }));
    expect(around.text()).toBe("joined: 8 9");
  });

  test("says when events were missed and no snapshot came", async () => {
    const around = page();
    await around.render(h(Messages));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => socket.say(posted(42, 1)));
    await around.during(() => socket.say({ type: "reset", topic: "rooms/lobby", payload: { reason: "slow", epoch: "k3", offset: 50 } } as never));
    expect(around.text()).toBe("joined: 1 -1");
  });

  test("a list that is mounted later gets the present snapshot, not the one of the first join", async () => {
    const around = page();
    const List = ({ room }: { readonly room: hooks.LiveTopic<Room> }) => {
      const [list] = hooks.useEvents(room, (now: readonly number[], event) => [...now, event.payload as number], {
        initial: [],
        snapshot: (snapshot) => snapshot,
      });
      return list.join(" ");
    };
    let show: (shown: boolean) => void = () => undefined;
    const Parent = () => {
      const room = hooks.useTopic<Room>("rooms/lobby");
      const [shown, setShown] = useState(false);
      show = setShown;
      return shown ? h(List, { room }) : room.status;
    };
    await around.render(h(Parent));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1] }));
    await around.during(() => socket.say(posted(42, 2)));
    await around.during(() => { show(true); });
    await around.during(() => socket.say({ type: "left", ref: socket.of("leave").at(-1)?.ref, topic: "rooms/lobby" } as never));
    await around.during(() => answerJoin(socket, { epoch: "k3", offset: 42, snapshot: [1, 2] }));
    await around.during(() => socket.say(posted(43, 3)));
    expect(around.text()).toBe("1 2 3");
  });

  test("the component can change the state: older messages, or one of its own", async () => {
    const around = page();
    let update: (change: (list: readonly number[]) => readonly number[]) => void = () => undefined;
    const List = () => {
      const [list, change] = hooks.useEvents<readonly number[], Room>("rooms/lobby", (now, event) => [...now, event.payload as number], { initial: [5] });
      update = change;
      return list.join(" ");
    };
    await around.render(h(List));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => { update((list) => [4, ...list]); });
    await around.during(() => socket.say(posted(42, 6)));
    expect(around.text()).toBe("4 5 6");
  });
});

describe("usePresence and useStatus", () => {
  test("show the members and the connection", async () => {
    const around = page();
    const Members = () => `${hooks.useStatus().status} ${hooks.usePresence("rooms/lobby").members.map(({ id }) => id).join()}`;
    await around.render(h(Members));
    expect(around.text()).toBe("connecting ");
    await around.during(() => around.server.accept());
    const { socket } = around.server;
    await around.during(() => answerJoin(socket, { members: [{ id: "1", since: 1 }] }));
    await around.during(() => socket.say({ type: "presence", topic: "rooms/lobby", payload: { joined: [{ id: "2", since: 2 }] } } as never));
    expect(around.text()).toBe("online 1,2");
    await around.unmount();
    await expectNothingLeft(around);
  });
});

describe("useCall", () => {
  function button(around: Page) {
    const state: { now?: ReturnType<typeof hooks.useCall<Room, "post">> } = {};
    const Form = () => {
      state.now = hooks.useCall(hooks.useTopic<Room>("rooms/lobby"), "post");
      const { pending, result, error } = state.now;
      return `${pending ? "pending" : "idle"} ${result ?? "-"} ${error?.code ?? "-"}`;
    };
    return { Form, call: () => around.during(() => { state.now?.run({ body: "hi" }); }) };
  }

  test("says that a call waits, and then its result or its error", async () => {
    const around = page();
    const { Form, call } = button(around);
    await around.render(h(Form));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await call();
    expect(around.text()).toBe("pending - -");
    const ref = () => socket.of("call").at(-1)?.ref;
    await around.during(() => socket.say({ type: "result", ref: ref(), payload: 7 } as never));
    expect(around.text()).toBe("idle 7 -");
    await call();
    await around.during(() => refuse(socket, "call", "refused"));
    expect(around.text()).toBe("idle - refused"); // and no unhandled rejection, though nothing awaits the call
  });

  test("a call made by a component that goes away is carried out, and the topic is left after it", async () => {
    const around = page();
    const { Form, call } = button(around);
    await around.render(h(Form));
    await call(); // offline
    await around.unmount();
    const socket = await around.server.accept();
    await answerJoin(socket, AT_41);
    expect(traffic(socket)).toEqual(["join rooms/lobby", "call rooms/lobby"]);
    await socket.say({ type: "result", ref: socket.of("call")[0]?.ref, payload: 7 } as never);
    expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
  });
});

class Boundary extends Component<{ readonly children?: ReactNode }> {
  override state: { error?: { code?: string } | undefined } = {};
  static getDerivedStateFromError(error: unknown) {
    return { error };
  }
  override render() {
    const { error } = this.state;
    return error ? h("button", { onClick: () => { this.setState({ error: undefined }); } }, `error ${error.code ?? ""}`) : this.props.children;
  }
}

describe("errors", () => {
  const Captains = ({ suspense = false }) => hooks.useTopic("rooms/captains", { suspense, throwOnError: true }).status;

  test("a refusal is in the status, or on the console if no component looks", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const around = page();
    const Blind = () => { hooks.useTopic("rooms/blind"); return null; };
    await around.render([h(Status, { key: 1, name: "rooms/captains" }), h(Blind, { key: 2 })]);
    const socket = await around.server.accept();
    await around.during(() => refuse(socket, "join", "forbidden", {}, 0));
    expect(warn).not.toHaveBeenCalled();
    await around.during(() => refuse(socket, "join", "forbidden", {}, 1));
    expect(around.text()).toBe("refused");
    expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining(`"rooms/blind" was refused`), expect.anything());
  });

  test.each([false, true])("an error boundary catches a refusal, and a second try joins again (suspense: %s)", async (suspense) => {
    vi.spyOn(console, "error").mockImplementation(() => undefined); // React's own report
    const around = page();
    await around.render(h(Boundary, null, h(Suspense, { fallback: "wait" }, h(Captains, { suspense }))));
    const socket = await around.server.accept();
    await around.during(() => refuse(socket, "join", "forbidden"));
    expect(around.text()).toBe("error forbidden");
    vi.advanceTimersByTime(1_000);
    await around.during(() => { around.element.querySelector("button")?.click(); });
    expect(around.text()).toBe(suspense ? "wait" : "joining");
    await around.during(() => answerJoin(socket, AT_41));
    expect(around.text()).toBe("joined");
    expect(traffic(socket)).toEqual(["join rooms/captains", "join rooms/captains"]);
  });
});

describe("Suspense", () => {
  const List = () => {
    const room = hooks.useTopic<Room>("rooms/lobby", { suspense: true });
    const [list] = hooks.useEvents(room, (now: readonly number[], event) => [...now, event.payload as number], {
      initial: [],
      snapshot: (snapshot) => snapshot,
    });
    return `${room.status}: ${list.join(" ")}`;
  };
  const suspended = h(Suspense, { fallback: "wait" }, h(List));

  test.each([false, true])("a component suspends until it has joined, with one join (strict: %s)", async (strict) => {
    const around = page({ strict });
    await around.render(suspended);
    expect(around.text()).toBe("wait");
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1] }));
    expect(around.text()).toBe("joined: 1");
    await around.during(() => socket.say(posted(42, 2)));
    expect(around.text()).toBe("joined: 1 2");
    await around.during(() => socket.drop());
    expect(around.text()).toBe("joining: 1 2"); // a lost connection hides nothing
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
    vi.advanceTimersByTime(60_000);
    await around.during(() => around.clock.advance(500));
    const next = await around.server.accept();
    await around.during(() => answerJoin(next, { epoch: "k3", offset: 42, recovered: true }));
    await around.unmount();
    expect(traffic(next)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
  });

  test("events that come between the join and the mount are not lost", async () => {
    const around = page({ strict: true });
    await around.render(suspended);
    const socket = await around.server.accept();
    await around.during(async () => {
      await answerJoin(socket, { ...AT_41, snapshot: [1] });
      await socket.say(posted(42, 2), posted(43, 3)); // React has not rendered yet
    });
    expect(around.text()).toBe("joined: 1 2 3");
    await around.during(() => socket.say(posted(44, 4)));
    expect(around.text()).toBe("joined: 1 2 3 4");
  });

  test("a topic is left that a component waited for and was taken away", async () => {
    const around = page();
    await around.render(suspended);
    const socket = await around.server.accept();
    await around.render(null);
    await around.during(() => answerJoin(socket, AT_41));
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
    await around.during(() => { vi.advanceTimersByTime(20_000); });
    expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a component that waits long goes on waiting, and joins once", async () => {
    const around = page();
    await around.render(suspended);
    for (let step = 0; step < 12; step++) await around.during(() => { vi.advanceTimersByTime(10_000); });
    expect(around.text()).toBe("wait");
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, { ...AT_41, snapshot: [1] }));
    expect(around.text()).toBe("joined: 1");
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
  });

  test("several components wait for one topic, and one lease serves them", async () => {
    const around = page();
    await around.render([suspended, h(Suspense, { key: 2, fallback: "wait" }, h(List))].map((node, key) => h("p", { key }, node)));
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    await around.during(() => socket.say(posted(42, 2)));
    expect(around.text()).toBe("joined: 2joined: 2");
    await around.unmount();
    expect(traffic(socket)).toEqual(["join rooms/lobby", "leave rooms/lobby"]);
  });
});

describe("hot reload", () => {
  test("a module that is replaced leaves no lease behind, and the topic is not left on the wire", async () => {
    const around = page();
    const version = async (): Promise<typeof hooks> => {
      vi.resetModules();
      return import("../src/react.js");
    };
    const mount = ({ LiveProvider, useTopic, useEvents }: typeof hooks) => {
      const App = () => {
        const room = useTopic<Room>("rooms/lobby");
        const [list] = useEvents(room, (now: readonly unknown[], event) => [...now, event.payload], { initial: [] });
        return `${room.status}: ${list.join(" ")}`;
      };
      return around.render(h(LiveProvider, { live: around.live }, h(App)));
    };
    await mount(await version());
    const socket = await around.server.accept();
    await around.during(() => answerJoin(socket, AT_41));
    for (let n = 0; n < 5; n++) {
      await mount(await version());
      await around.during(() => socket.say(posted(42 + n)));
      expect(around.text()).toBe(`joined: ${42 + n}`);
    }
    expect(traffic(socket)).toEqual(["join rooms/lobby"]);
    await around.unmount();
    expect(traffic(socket)).toEqual(["leave rooms/lobby"]);
  });
});

test("without a provider the hooks use the page's client", async () => {
  const seen: unknown[] = [];
  const Use = () => { seen.push(hooks.useLive()); return null; };
  const element = document.createElement("main");
  const root = createRoot(element);
  roots.add(root);
  await act(async () => { root.render([h(Use, { key: 1 }), h(Use, { key: 2 })]); await settle(); });
  expect(new Set(seen).size).toBe(1);
  expect(seen[0]).toMatchObject({ status: "idle" });
});

// @vitest-environment happy-dom
import { afterEach, describe, expect, test, vi } from "vitest";

import { configure } from "../src/html.js";
import { settle } from "./clock.js";
import type { FakeSocket } from "./server.js";
import { answerJoin, refuse, world, type World } from "./world.js";

/** A page with live parts, and the server that it has connected to. */
async function page(html: string, joined: object = { epoch: "k3", offset: 41, recovered: true }): Promise<World & { socket: FakeSocket }> {
  const around = world();
  configure({ live: around.live });
  document.body.innerHTML = html;
  const socket = await around.server.accept();
  await answerJoin(socket, joined);
  return { ...around, socket };
}

const LIST = `<live-topic name="rooms/lobby" since="k3:41"><ul id="list"><li id="m1">one</li></ul></live-topic>`;

function fragment(offset: number, swap: string, html = "", target = "list") {
  return { type: "event", topic: "rooms/lobby", name: "holdfast.html", offset, payload: { target, swap, html } } as const;
}

function part(): Element {
  const element = document.querySelector("live-topic");
  if (!element) throw new Error("the page has no live part");
  return element;
}

/** The contents of the list, without the tags. */
function items(): string[] {
  return [...document.querySelectorAll("li")].map(({ textContent }) => textContent);
}

afterEach(async () => {
  document.body.innerHTML = "";
  await settle();
  vi.useRealTimers();
});

// ── putting fragments into the page ──────────────────────────────────────────────────────────────

test("the element joins its topic from the position of its contents", async () => {
  const { socket } = await page(LIST);
  expect(socket.look()).toMatchObject([{ type: "join", topic: "rooms/lobby", payload: { since: { epoch: "k3", offset: 41 } } }]);
  expect(part().getAttribute("status")).toBe("joined");
});

test.each([
  ["append", "<li>one</li><li>new</li>"],
  ["prepend", "<li>new</li><li>one</li>"],
  ["update", "<li>new</li>"],
])("%s", async (swap, expected) => {
  const { socket } = await page(LIST.replace(' id="m1"', ""));
  await socket.say(fragment(42, swap, "<li>new</li>"));
  expect(document.getElementById("list")?.innerHTML).toBe(expected);
});

test.each([
  ["before", ["new", "one"]],
  ["after", ["one", "new"]],
  ["replace", ["new"]],
  ["morph", ["new"]],
  ["remove", []],
])("%s", async (swap, expected) => {
  const { socket } = await page(LIST);
  await socket.say(fragment(42, swap, "<li>new</li>", "m1"));
  expect(items()).toEqual(expected);
});

test("a target may be anywhere in the page, and an event is carried out once however many elements show the topic", async () => {
  const { socket } = await page(`<p id="badge">0</p>${LIST}<live-topic name="rooms/lobby" since="k3:41"></live-topic>`);
  await socket.say(fragment(42, "append", "<li>two</li>"), fragment(43, "morph", "<p id='badge'>1</p>", "badge"));
  expect(items()).toEqual(["one", "two"]);
  expect(document.getElementById("badge")?.textContent).toBe("1");
});

test("a target that the page does not have is nothing to it", async () => {
  const { socket } = await page(LIST);
  await socket.say(fragment(42, "append", "<li>two</li>", "elsewhere"), fragment(43, "append", "<li>three</li>"));
  expect(items()).toEqual(["one", "three"]);
});

test("an element with an id that the page has takes that element's place", async () => {
  const { socket } = await page(LIST);
  const one = document.getElementById("m1");
  await socket.say(fragment(42, "append", "<li id='m2'>two</li>"), fragment(43, "append", "<li id='m1'>ONE</li>"));
  expect(items()).toEqual(["two", "ONE"]);
  expect(document.getElementById("m1") === one).toBe(true);
});

test("scripts do not get into the page; data does", async () => {
  const { socket } = await page(LIST);
  const html = `<li>two<script>globalThis.ran = true</script><script type="application/json">{}</script></li>`;
  await socket.say(fragment(42, "append", html));
  expect(document.querySelectorAll("script").length).toBe(1);
  expect(globalThis).not.toHaveProperty("ran");
});

test("custom elements in a fragment come to life", async () => {
  customElements.define("x-greeting", class extends HTMLElement {
    connectedCallback(): void {
      this.textContent = "hello";
    }
  });
  const { socket } = await page(LIST);
  await socket.say(fragment(42, "append", "<li><x-greeting></x-greeting></li>"));
  expect(items()).toEqual(["one", "hello"]);
});

test("htmx sees what is new, if the page has it", async () => {
  const process = vi.fn<(element: Element) => void>();
  vi.stubGlobal("htmx", { process });
  const { socket } = await page(LIST);
  await socket.say(fragment(42, "append", "<li id='m2'>two</li>"));
  expect(process.mock.calls).toEqual([[document.getElementById("m2")]]);
});

// ── positions ────────────────────────────────────────────────────────────────────────────────────

test("the element says up to where its contents are, for copies of the page", async () => {
  const { socket } = await page(LIST);
  await socket.say(fragment(42, "append", "<li>two</li>"));
  expect(part().getAttribute("since")).toBe("k3:42");
});

test("an element that moves in the page neither leaves nor joins", async () => {
  const { socket } = await page(`${LIST}<aside></aside>`);
  socket.look();
  document.querySelector("aside")?.append(part());
  await settle();
  await socket.say(fragment(42, "append", "<li>two</li>"));
  expect(socket.look()).toEqual([]);
  expect(items()).toEqual(["one", "two"]);
});

test("an element that is removed leaves, and one that comes back goes on where its contents are", async () => {
  const { socket } = await page(LIST);
  const element = part();
  await socket.say(fragment(42, "append", "<li>two</li>"));
  element.remove();
  await settle();
  expect(socket.look().map(({ type }) => type)).toEqual(["join", "leave"]);
  await socket.say({ type: "left", ref: socket.of("leave")[0]?.ref, topic: "rooms/lobby" } as { type: string });
  document.body.append(element);
  await settle();
  expect(socket.look()).toMatchObject([{ type: "join", payload: { since: { epoch: "k3", offset: 42 } } }]);
});

test("another body with a newer rendering goes on from there", async () => {
  const { socket } = await page(LIST);
  document.body.innerHTML = LIST.replace("k3:41", "k3:44");
  await settle();
  await socket.say({ type: "left", ref: socket.of("leave")[0]?.ref, topic: "rooms/lobby" } as { type: string });
  expect(socket.of("join").at(-1)?.payload).toEqual({ since: { epoch: "k3", offset: 44 } });
});

test("what an inner rendering has already is not put into it again", async () => {
  const { socket } = await page(LIST);
  document.body.insertAdjacentHTML("beforeend", `<live-topic name="rooms/lobby" since="k3:43"><ol id="new"><li>two</li></ol></live-topic>`);
  await settle();
  await socket.say(...[42, 43, 44].map((offset) => fragment(offset, "append", `<li>${offset}</li>`, "new")));
  expect(items()).toEqual(["one", "two", "44"]);
});

test("a snapshot of fragments is put into the page", async () => {
  const snapshot = { target: "list", swap: "update", html: "<li>all</li>" };
  await page(LIST.replace(' since="k3:41"', ""), { epoch: "k3", offset: 50, snapshot });
  expect(items()).toEqual(["all"]);
  expect(part().getAttribute("since")).toBe("k3:50");
});

// ── when events were missed ──────────────────────────────────────────────────────────────────────

interface Request {
  readonly url: string;
  answer(html: string, status?: number): Promise<void>;
}

/** The pages that are asked for. */
function requests(): Request[] {
  const all: Request[] = [];
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.stubGlobal("fetch", (url: string) => new Promise((resolve) => {
    const answer = async (html: string, status = 200): Promise<void> => {
      resolve({ ok: status < 400, status, text: () => Promise.resolve(html) });
      await settle();
    };
    all.push({ url, answer });
  }));
  return all;
}

describe("after a gap", () => {
  const MISSED = { epoch: "k3", offset: 60, recovered: false };

  test("the element takes its contents from the page, and what came in between follows", async () => {
    const asked = requests();
    const { socket } = await page(LIST, MISSED);
    expect(part().getAttribute("status")).toBe("stale");
    await vi.advanceTimersByTimeAsync(0);
    expect(part().getAttribute("aria-busy")).toBe("true");
    await socket.say(...[61, 62].map((offset) => fragment(offset, "append", `<li>${offset}</li>`)));
    expect(items()).toEqual(["one"]);
    await asked[0]?.answer(`<title>x</title>${LIST.replace("k3:41", "k3:61").replace("one", "fresh to 61")}`);
    expect(items()).toEqual(["fresh to 61", "62"]);
    expect([part().getAttribute("since"), part().getAttribute("status"), part().hasAttribute("aria-busy")]).toEqual(["k3:62", "joined", false]);
  });

  test("a page that is behind is asked for again, later", async () => {
    const asked = requests();
    await page(LIST, MISSED);
    await vi.advanceTimersByTimeAsync(0);
    await asked[0]?.answer(LIST.replace("k3:41", "k3:59"));
    expect(part().getAttribute("status")).toBe("stale");
    await vi.advanceTimersByTimeAsync(400);
    expect(asked.length).toBe(1);
    await vi.advanceTimersByTimeAsync(700);
    await asked[1]?.answer(LIST.replace("k3:41", "k3:60"));
    expect(part().getAttribute("status")).toBe("joined");
  });

  test("while the server fails, events go on, and the page is asked for again, ever more rarely", async () => {
    const asked = requests();
    const { socket } = await page(LIST, MISSED);
    await vi.advanceTimersByTimeAsync(0);
    for (const wait of [1_000, 2_000, 4_000, 8_000]) {
      await asked.at(-1)?.answer("", 500);
      const before = asked.length;
      await vi.advanceTimersByTimeAsync(wait / 2 - 1);
      expect(asked.length).toBe(before);
      await socket.say(fragment(60 + before, "append", `<li>${before}</li>`));
      await vi.advanceTimersByTimeAsync(wait / 2 + 1);
      expect(asked.length).toBe(before + 1);
    }
    expect(items()).toEqual(["one", "1", "2", "3", "4"]);
  });

  test("a page without the element is said to the developer, and not asked for again", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    const asked = requests();
    await page(LIST, MISSED);
    await vi.advanceTimersByTimeAsync(0);
    await asked[0]?.answer("<p>Sign in</p>");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBe(1);
    expect(warn.mock.calls[0]?.[0]).toContain('Set refresh="…"');
  });

  test("elements of one page share a request; others name their page", async () => {
    const asked = requests();
    const inbox = `<live-topic name="rooms/lobby" refresh="/inbox/#top" id="inbox"></live-topic>`;
    const { socket } = await page(`${LIST}${LIST}${inbox}`);
    await socket.say({ type: "reset", topic: "rooms/lobby", payload: { reason: "trimmed", epoch: "k3", offset: 90 } } as { type: string });
    await vi.advanceTimersByTimeAsync(2_000);
    const base = new URL(document.baseURI).href;
    expect(asked.map(({ url }) => url).sort()).toEqual([base, new URL("/inbox/", base).href].sort());
  });

  test("several elements of a topic without ids take their own contents", async () => {
    const asked = requests();
    const both = (count: string, first: string, at: number) =>
      `<live-topic name="rooms/lobby" since="k3:${at}"><b>${count}</b></live-topic><live-topic name="rooms/lobby" since="k3:${at}"><p>${first}</p></live-topic>`;
    await page(both("1", "one", 41), MISSED);
    await vi.advanceTimersByTimeAsync(0);
    await asked[0]?.answer(`<body>${both("2", "two", 60)}</body>`);
    expect([...document.querySelectorAll("live-topic")].map(({ innerHTML }) => innerHTML)).toEqual(["<b>2</b>", "<p>two</p>"]);
  });

  test("a rendering that was asked for before the element began again is not put into it", async () => {
    const asked = requests();
    const { socket } = await page(LIST.replace("<live-topic", `<live-topic id="room"`), MISSED);
    await vi.advanceTimersByTimeAsync(0);
    // A morph of the page shows another room.
    const room = part();
    room.setAttribute("since", "k7:5");
    room.setAttribute("name", "rooms/other");
    room.innerHTML = "<ul id='list'><li>other</li></ul>";
    await settle();
    await answerJoin(socket, { epoch: "k7", offset: 5, recovered: true });
    await asked[0]?.answer(LIST.replace("<live-topic", `<live-topic id="room"`).replace("k3:41", "k3:60"));
    expect([room.getAttribute("name"), room.getAttribute("since"), items()]).toEqual(["rooms/other", "k7:5", ["other"]]);
    expect(room.getAttribute("status")).toBe("joined");
    expect(room.hasAttribute("aria-busy")).toBe(false);
  });

  test("a newer rendering is not replaced by an older one that arrives later", async () => {
    const asked = requests();
    await page(LIST, MISSED);
    await vi.advanceTimersByTimeAsync(0);
    part().innerHTML = `<ul id="list"><li>all to 62</li></ul>`;
    part().setAttribute("since", "k3:62");
    await settle();
    await asked[0]?.answer(LIST.replace("k3:41", "k3:60").replace("one", "all to 60"));
    expect([items(), part().getAttribute("since")]).toEqual([["all to 62"], "k3:62"]);
  });

  test("a page may see to it itself", async () => {
    const asked = requests();
    const { socket } = await page(LIST);
    part().addEventListener("live-topic:reset", (event) => { event.preventDefault(); });
    await socket.say({ type: "reset", topic: "rooms/lobby", payload: { reason: "trimmed", epoch: "k3", offset: 90 } } as { type: string });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toEqual([]);
  });

  test("an element that is gone asks for nothing", async () => {
    const asked = requests();
    await page(LIST, MISSED);
    document.body.innerHTML = "";
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toEqual([]);
  });
});

// ── what the page hears ──────────────────────────────────────────────────────────────────────────

test("the element dispatches what happens to it", async () => {
  const told: string[] = [];
  const types = ["live-topic:joined", "live-topic:event", "live:message.posted"];
  const tell = ({ type, detail }: Event & { detail?: { name?: string; body?: string } }): void => {
    told.push(`${type} ${detail?.name ?? detail?.body ?? ""}`.trim());
  };
  for (const type of types) document.addEventListener(type, tell);
  const { socket } = await page(LIST);
  await socket.say({ type: "event", topic: "rooms/lobby", name: "message.posted", offset: 42, payload: { body: "hi" } } as { type: string });
  for (const type of types) document.removeEventListener(type, tell);
  expect(told).toEqual(["live-topic:joined", "live-topic:event message.posted", "live:message.posted hi"]);
});

test("a page may keep a fragment out", async () => {
  const { socket } = await page(LIST);
  part().addEventListener("live-topic:event", (event) => { event.preventDefault(); });
  await socket.say(fragment(42, "append", "<li>two</li>"));
  expect(items()).toEqual(["one"]);
});

test("elements inside with an hx-trigger see an event once, and those outside do not", async () => {
  const inner = `<p hx-trigger="click, live:message.posted[detail.id > 1]"></p><p hx-trigger="live:message.posted.now"></p>`;
  const { socket } = await page(LIST.replace("<ul", `${inner}<ul`));
  const seen: string[] = [];
  for (const each of document.querySelectorAll("p")) each.addEventListener("live:message.posted", () => seen.push(each.outerHTML));
  await socket.say({ type: "event", topic: "rooms/lobby", name: "message.posted", offset: 42, payload: { id: 2 } } as { type: string });
  expect(seen).toEqual([document.querySelector("p")?.outerHTML]);
});

test("a refusal is in the page, and in the console", async () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue();
  const around = world();
  configure({ live: around.live });
  document.body.innerHTML = LIST;
  const socket = await around.server.accept();
  await refuse(socket, "join", "forbidden");
  expect(part().getAttribute("status")).toBe("refused");
  expect(warn.mock.calls[0]?.[0]).toContain('"rooms/lobby" was refused');
});

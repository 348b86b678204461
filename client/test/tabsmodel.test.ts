// Tabs come and go, crash and freeze, and the network breaks: what each of them hears is what it would hear alone.

import { expect, test, vi } from "vitest";

import type { Topic } from "../src/index.js";
import { ManualClock } from "./clock.js";
import { ModelServer } from "./model.js";
import { Random } from "./random.js";
import { FakeServer } from "./server.js";
import { SimulatedBrowser, type SimulatedTab } from "./tabs.js";

const RUNS = Number(process.env["HOLDFAST_RUNS"] ?? 500);
const SEED = process.env["HOLDFAST_SEED"];
const TOPICS = ["rooms/lobby", "rooms/captains", "boards/1"];

interface Watched {
  readonly topic: Topic;
  readonly seen: number[];
  /** Where the first join started. */
  from: number | undefined;
}

interface Visit {
  readonly tab: SimulatedTab;
  readonly topics: Map<string, Watched>;
  /** Calls that were made, by topic. */
  readonly made: Map<string, string[]>;
  readonly results: Promise<void>[];
}

class Story {
  readonly random: Random;
  readonly clock = new ManualClock();
  readonly server = new FakeServer();
  readonly model: ModelServer;
  readonly browser = new SimulatedBrowser(this.clock, this.server);
  readonly visits: Visit[] = [];
  counter = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.model = new ModelServer(this.server, this.random);
    this.model.snapshots.add("boards/1");
    if (this.random.chance(0.5)) this.model.user = null;
  }

  get alive(): Visit[] {
    return this.visits.filter(({ tab }) => !tab.crashed);
  }

  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.random.below(items.length)];
  }

  open(): void {
    const tab = this.browser.open({ random: this.random.next, options: { backoff: { base: 200, cap: 2_000 } } });
    this.visits.push({ tab, topics: new Map(), made: new Map(), results: [] });
  }

  join({ tab, topics }: Visit, name: string): void {
    const known = topics.get(name);
    if (tab.frozen || (known && known.topic.status !== "left")) return;
    const head = this.model.log(name).entries.length;
    const anywhere = !known && this.random.chance(0.6) && !this.model.snapshots.has(name);
    const since = anywhere ? { epoch: "k1", offset: this.random.below(head + 1) } : undefined;
    const watched: Watched = { seen: known?.seen ?? [], from: known?.from ?? since?.offset, topic: tab.live.topic(name, { since }) };
    topics.set(name, watched);
    watched.topic.on("counted", (value) => watched.seen.push(value as number));
    watched.topic.lifecycle.on("joined", ({ position, recovered, snapshot }) => {
      if (snapshot !== undefined && position) {
        // The state at this position: what the tab has is that, and what follows.
        expect(snapshot).toBe(position.offset);
        watched.seen.length = 0;
        watched.from = position.offset;
      } else {
        watched.from ??= position?.offset;
        expect(recovered).toBe(true);
      }
    });
  }

  call({ tab, topics, made, results }: Visit, name: string): void {
    const topic = topics.get(name)?.topic;
    if (tab.frozen || !topic || topic.status === "left") return;
    const n = ++this.counter;
    made.set(name, [...(made.get(name) ?? []), `${name} ${n}`]);
    results.push(
      topic.call("count", { n }).then(
        (result) => {
          expect(result).toBe(n);
        },
        (error: unknown) => {
          if (!tab.crashed) throw error;
        },
      ),
    );
  }

  async step(): Promise<void> {
    const visit = this.pick(this.alive);
    const name = this.pick(TOPICS) ?? "";
    const dice = this.random.next();
    if (!visit || (dice < 0.02 && this.alive.length < 5)) this.open();
    else if (dice < 0.1) this.model.publish(name, ++this.counter);
    else if (dice < 0.2) this.call(visit, name);
    else if (dice < 0.27) this.join(visit, name);
    else if (dice < 0.275) await visit.tab.crash();
    else if (dice < 0.28) await visit.tab.shut();
    else if (dice < 0.29 && !visit.tab.frozen) await visit.tab.freeze(this.random.chance(0.5));
    else if (dice < 0.31) await visit.tab.thaw();
    else if (dice < 0.32) await this.model.drop();
    else if (dice < 0.325 && !visit.tab.frozen) visit.tab.live.reconnect();
    else if (dice < 0.45) await this.clock.advance(this.random.below(this.random.chance(0.1) ? 15_000 : 500));
    else if (dice < 0.47) this.leave(visit, name);
    else await this.model.step();
  }

  /** A topic with calls that wait is not left: they would be rejected. */
  leave({ tab, topics, made }: Visit, name: string): void {
    const topic = topics.get(name)?.topic;
    if (!tab.frozen && topic?.status === "joined" && !made.has(name)) topic.leave();
  }

  async calm(): Promise<void> {
    for (const { tab } of this.alive) await tab.thaw();
    for (const visit of this.alive) for (const name of visit.topics.keys()) this.join(visit, name);
    for (let calm = 0; calm < 60; calm++) {
      await this.model.drain();
      await this.clock.advance(calm < 40 ? 1_000 : 100);
    }
  }

  async check(): Promise<void> {
    expect(this.model.done.filter((call, place, all) => all.indexOf(call) !== place)).toEqual([]);
    for (const { tab, topics, results, made } of this.alive) {
      await Promise.all(results);
      for (const [name, { seen, from }] of topics) expect([name, tab.live.status, seen]).toEqual([name, "online", this.model.log(name).entries.slice(from)]);
      for (const [name, calls] of made) expect(this.model.done.filter((call) => calls.includes(call))).toEqual(calls.filter((call) => call.startsWith(name)));
    }
    // Tabs share; only those whose calls belong to another name do not.
    if (this.model.user !== null) expect(this.model.connections).toBeLessThanOrEqual(1);
    for (const { tab } of this.alive) tab.live.close();
    await this.clock.advance(0);
    expect([this.clock.waiting, this.browser.locks, this.browser.channels.size, this.model.connections]).toEqual([0, [], 0, 0]);
  }
}

async function run(seed: number): Promise<void> {
  const story = new Story(seed);
  for (let step = 0; step < 150; step++) await story.step();
  await story.calm();
  await story.check();
}

test("whatever happens to tabs, each hears every event once and in order, and every call is carried out once", async () => {
  vi.spyOn(console, "warn").mockReturnValue(undefined); // of tabs that find no server for a while
  const first = Math.floor(Math.random() * 2 ** 31);
  const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, index) => first + index) : [Number(SEED)];
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`HOLDFAST_SEED=${seed} repeats this`, { cause: error });
    }
  }
}, 120_000);

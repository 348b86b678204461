import { expect, test } from "vitest";

import { ModelServer } from "./model.js";
import { Random } from "./random.js";
import { world } from "./world.js";

const RUNS = Number(process.env["HOLDFAST_RUNS"] ?? 200);
/** HOLDFAST_SEED=… repeats the run that a failure names. */
const SEED = process.env["HOLDFAST_SEED"];
const TOPICS = ["rooms/lobby", "rooms/captains"];

async function run(seed: number): Promise<void> {
  const random = new Random(seed);
  const { live, clock, server } = world({ random: random.next, backoff: { base: 200, cap: 2_000 } });
  const model = new ModelServer(server, random);
  const seen = new Map<string, number[]>(TOPICS.map((name) => [name, []]));
  const made = new Map<string, string[]>(TOPICS.map((name) => [name, []]));
  const results: Promise<void>[] = [];
  const topics = TOPICS.map((name) => live.topic(name, { since: { epoch: "k1", offset: 0 } }));
  for (const topic of topics) topic.on("counted", (value) => seen.get(topic.name)?.push(value as number));

  let counter = 0;
  for (let step = 0; step < 300; step++) {
    const topic = topics[random.below(topics.length)];
    if (!topic) continue;
    const dice = random.next();
    if (dice < 0.1) model.publish(topic.name, ++counter);
    else if (dice < 0.2) {
      const n = ++counter;
      made.get(topic.name)?.push(`${topic.name} ${n}`);
      results.push(
        topic.call("count", { n }).then((result) => {
          expect(result).toBe(n);
        }),
      );
    } else if (dice < 0.23) await model.drop();
    else if (dice < 0.24) live.reconnect();
    else if (dice < 0.35) await clock.advance(random.below(500));
    else await model.step();
  }
  for (let calm = 0; calm < 200; calm++) {
    await model.drain();
    await clock.advance(100);
  }

  await Promise.all(results);
  for (const name of TOPICS) {
    expect(seen.get(name)).toEqual(model.log(name).entries);
    expect(model.done.filter((call) => call.startsWith(name))).toEqual(made.get(name));
  }
  live.close();
  expect(clock.waiting).toBe(0);
}

test("whatever breaks, every event is handled once and in order, and every call is carried out once", async () => {
  const first = Math.floor(Math.random() * 2 ** 31);
  const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, index) => first + index) : [Number(SEED)];
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`HOLDFAST_SEED=${seed} repeats this`, { cause: error });
    }
  }
}, 60_000);

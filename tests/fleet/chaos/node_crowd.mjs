/**
 * Clients of the crowd that are Holdfast's browser client, in one Node process: `node node_crowd.mjs PLAN`. It takes the orders
 * that crowd.py takes, and answers them in the same way.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { NodeClient } from "./node_client.mjs";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
let lines = [];
const clients = plan.characters.map((character) => new NodeClient(character, plan.ways, (record) => lines.push(`${JSON.stringify(record)}\n`)));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function flush() {
  if (lines.length) appendFileSync(plan.journal, lines.splice(0).join(""));
}

async function until(holds) {
  const deadline = Date.now() + plan.patience * 1_000;
  while (!holds() && Date.now() < deadline) await pause(100);
}

const orders = {
  hush: async () => {
    for (const client of clients) client.hushed = true;
    await until(() => clients.every(({ pending }) => !pending.size));
  },
  "catch-up": async (heads) => {
    for (const client of clients) client.heads = JSON.parse(heads);
    await until(() => clients.every(({ missing }) => !missing.length));
  },
  finish: async () => {
    for (const client of clients) client.finish();
  },
};

clients.forEach((client, number) => setTimeout(() => client.start(), (number * plan.arrive_within * 1_000) / clients.length));
const flushing = setInterval(flush, 1_000);
for await (const line of createInterface({ input: process.stdin })) {
  const [, word, rest] = /^(\S+) ?(.*)$/.exec(line);
  await orders[word](rest);
  flush();
  console.log(word, clients.filter(({ missing }) => missing.length).length);
}
clearInterval(flushing);
for (const client of clients) client.close();

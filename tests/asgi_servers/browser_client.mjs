// The browser client in Node, over a WebSocket: node browser_client.mjs CLIENT.js URL TOPIC [POSITION]
// Prints a line of JSON when it has joined and for each event. A line on its input is a call of `say` with that text.
import { createInterface } from "node:readline";

const [file, url, topic, since] = process.argv.slice(2);
const { connect } = await import(file);
const live = connect({ url });
const room = live.topic(topic, since ? { since: JSON.parse(since) } : {});
const print = (value) => process.stdout.write(`${JSON.stringify({ ...value, position: room.position })}\n`);

room.on("said", (payload, { offset }) => queueMicrotask(() => print({ payload, offset })));
const { recovered } = await room.ready;
print({ recovered });
for await (const text of createInterface({ input: process.stdin })) {
  print({ result: await room.call("say", { text }) });
}
live.close();
